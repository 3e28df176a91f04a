"""From pixels to the gallery embedding: extractors, mixers, networks."""
