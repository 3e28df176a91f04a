"""Every figure that the README claims, measured side by side in one run."""
