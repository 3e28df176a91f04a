"""Indexing of photographs from any source."""
