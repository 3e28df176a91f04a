"""What the gallery indexer and the query service must agree on."""
