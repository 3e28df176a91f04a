"""Landmarks that nothing learns from, of the endless set: recipes train on lower numbers."""

HELD_OUT = 2_000_000
