"""What photographs can be found by without any training; every report compares a bundle with it."""
