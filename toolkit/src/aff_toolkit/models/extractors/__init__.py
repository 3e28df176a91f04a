"""Extractors that a recipe can name."""
