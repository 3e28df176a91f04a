"""Pretrained weights: hub, packages, released files."""
