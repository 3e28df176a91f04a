"""From photographs to rankings: embeddings in resumable shards, exact search, or the running services."""
