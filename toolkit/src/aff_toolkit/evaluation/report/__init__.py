"""From rankings to figures, curves and pictures."""
