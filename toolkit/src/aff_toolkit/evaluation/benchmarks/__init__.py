"""Retrieval benchmarks: photographs and ground truth."""
