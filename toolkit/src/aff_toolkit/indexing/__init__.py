"""Sends photographs of any source to the gallery indexer."""
