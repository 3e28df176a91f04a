"""Query side: image -> ONNX encoder -> Qdrant search."""
