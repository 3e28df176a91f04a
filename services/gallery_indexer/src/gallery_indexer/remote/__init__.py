"""Images that a request names by URL."""
