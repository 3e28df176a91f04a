"""The web framework of both services."""
