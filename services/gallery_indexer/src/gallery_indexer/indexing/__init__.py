"""The pipeline from an uploaded image to a point in the store."""
