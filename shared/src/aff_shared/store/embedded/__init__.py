"""The store on Qdrant Edge, in process."""
