"""The aff command: serve, index, search, train, demonstrate."""
