"""Checkpoints that others released, brought into the form that this project reads."""
