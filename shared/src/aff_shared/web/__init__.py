"""What both FastAPI applications share."""
