"""The files in which features of images are kept: written by trainings and by the indexer."""
