"""Code that the gallery indexer and the query service share."""

__version__ = "0.1.0"
