"""Query encoders and the bundles that a training starts from."""
