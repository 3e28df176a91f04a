"""Speed, memory and recall measurements, reported as ratios within one run."""
