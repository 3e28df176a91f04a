"""Files with features of images, written by trainings and by the indexer."""
