"""Capacity planning: the machines that a gallery of a given size and search rate requires."""
