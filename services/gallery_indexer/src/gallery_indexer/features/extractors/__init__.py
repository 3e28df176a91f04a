"""Frozen extractors of the gallery side, one file per family."""
