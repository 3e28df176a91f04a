"""`make demo`: asymmetric retrieval end to end, over HTTP."""
