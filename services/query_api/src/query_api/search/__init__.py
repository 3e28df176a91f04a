"""From a query embedding to hits."""
