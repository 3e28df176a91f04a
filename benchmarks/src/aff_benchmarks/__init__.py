"""Benchmarks of the project itself: cost, capacity, ablation, and the report of them all."""
