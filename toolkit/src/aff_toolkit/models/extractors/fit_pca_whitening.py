"""Fits a PCA whitening on vectors of photographs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gallery_indexer.features.extractors.vlad_encoder import PcaWhitening


def fit_pca_whitening(vectors: NDArray[np.float32], dimension: int) -> PcaWhitening:
    """Fit the whitening on vectors (n, d) with n > dimension.

    The eigenvectors are taken of the small matrix of inner products (n, n): if u is one of unit length, to the
    eigenvalue s, then X^T u / sqrt(s) is the component, and s / (n - 1) the variance along it.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    eigenvalues, eigenvectors = np.linalg.eigh(centred @ centred.T)
    strongest = slice(None, -dimension - 1, -1)
    scales = np.sqrt(len(vectors) - 1) / np.maximum(eigenvalues[strongest], 1e-12)
    projection = (eigenvectors[:, strongest] * scales).T @ centred
    return PcaWhitening(mean.astype(np.float32), projection.astype(np.float32))
