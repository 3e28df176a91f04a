"""Baselines: services and loops built as tutorials do, each in a separate process."""
