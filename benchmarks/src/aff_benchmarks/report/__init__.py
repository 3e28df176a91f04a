"""The benchmark report: every figure of the README, measured in one run."""
