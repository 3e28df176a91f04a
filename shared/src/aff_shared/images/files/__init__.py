"""Readers of what single file formats announce."""
