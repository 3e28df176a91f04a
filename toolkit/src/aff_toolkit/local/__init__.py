"""Both services in this process or beside it."""
