"""Finds the centres that VLAD assigns descriptors to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_ROUNDS = 30

Array = NDArray[np.float32]


def fit_codebook(descriptors: Array, clusters: int, random: np.random.Generator) -> Array:
    """Find centres by k-means from k-means++ seeds.

    Args:
        descriptors: (n, d) float32, n >= clusters.
        clusters: k.
        random: Where the seeds come from.

    Returns:
        (k, d) float32.
    """
    cv2.setRNGSeed(int(random.integers(2**31)))
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 1e-4)
    labels = np.zeros((len(descriptors), 1), dtype=np.int32)
    _, _, centres = cv2.kmeans(descriptors, clusters, labels, until, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres, dtype=np.float32)
