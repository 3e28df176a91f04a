"""Features of frozen extractors, stored on disk and read by memory mapping."""
