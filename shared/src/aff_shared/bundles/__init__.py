"""Model bundles: manifest, identity, signature, and the directory that holds several."""
