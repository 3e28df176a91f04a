"""The stages of a training, from photographs to a bundle."""
