"""Joint training of mixer and query encoder."""
