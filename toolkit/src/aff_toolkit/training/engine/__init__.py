"""The training loop and what it updates."""
