"""Images that a request names by URL or path."""
