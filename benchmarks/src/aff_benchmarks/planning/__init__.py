"""What a gallery of a given size and rate of searches needs."""
