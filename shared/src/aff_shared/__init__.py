"""Code that the gallery indexer and the query service share."""
