"""VLAD: an image's local descriptors summed up in one vector (Jegou et al., TPAMI 2012, sec. 3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

VladNormalisation = Literal["signed_sqrt", "intra"]

Array = NDArray[np.float32]

_EPSILON = 1e-12


def vlad(descriptors: Array, codebook: Array, normalisation: VladNormalisation) -> Array:
    """Sum the residuals of descriptors to their nearest centres, centre by centre, and normalise.

    Args:
        descriptors: (n, d) float32; n may be 0.
        codebook: (k, d) float32 centres.
        normalisation: What keeps a few bursts of equal descriptors from ruling the vector. `signed_sqrt` takes signed
            square roots of all components (Jegou et al., TPAMI 2012, sec. 3.2), `intra` brings the residual of each
            centre to unit length (Arandjelovic and Zisserman, CVPR 2013, sec. 3.1). Unit length as a whole follows.

    Returns:
        (k * d,) float32, centre after centre: unit length, or zero where there is no residual.
    """
    residuals = np.zeros(codebook.shape, dtype=np.float32)
    nearest = nearest_centres(descriptors, codebook)
    for centre in np.unique(nearest):
        assigned = descriptors[nearest == centre]
        residuals[centre] = assigned.sum(axis=0) - len(assigned) * codebook[centre]
    normalised = unit_rows(residuals) if normalisation == "intra" else np.sign(residuals) * np.sqrt(np.abs(residuals))
    whole: Array = unit_rows(normalised.reshape(1, -1))[0]
    return whole


def nearest_centres(descriptors: Array, codebook: Array) -> NDArray[np.int64]:
    """Return the nearest centre (k, d) of each descriptor (n, d) by Euclidean distance: (n,) int64."""
    nearest: NDArray[np.int64] = (np.square(codebook).sum(axis=1) - 2.0 * descriptors @ codebook.T).argmin(axis=1)
    return nearest


def unit_rows(rows: Array) -> Array:
    """Bring rows (n, d) to unit length; a row of zeros stays."""
    unit: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _EPSILON)
    return unit
