"""The gallery store: one Protocol, two adapters (Qdrant server, Qdrant Edge)."""
