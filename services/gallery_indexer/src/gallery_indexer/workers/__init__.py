"""The encoder in a separate process, and the pixels it shares with others."""
