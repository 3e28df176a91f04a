"""Routes, and the readers of their requests."""
