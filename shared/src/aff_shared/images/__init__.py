"""Image decoding within limits of size, memory and time."""
