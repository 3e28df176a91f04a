"""Gallery side: images -> features -> dynamic mixer -> Qdrant."""
