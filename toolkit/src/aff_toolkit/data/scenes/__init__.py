"""Procedural photographs: an endless, seeded set of landmarks."""
