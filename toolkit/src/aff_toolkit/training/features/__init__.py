"""What frozen extractors gave, kept on disk and read without loading it into memory."""
