"""Networks that several extractors share."""
