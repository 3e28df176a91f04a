"""Losses of the trainings, one a file: pure functions, and the settings that choose them in a recipe."""
