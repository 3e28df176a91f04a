"""Ablations of the paper's findings: variants of the method, trained with several seeds and compared in pairs."""
