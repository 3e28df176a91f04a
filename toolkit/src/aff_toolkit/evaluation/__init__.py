"""Rankings, metrics, reports."""
