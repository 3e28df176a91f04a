"""VLAD: an image's local descriptors, aggregated into one vector (Jegou et al., TPAMI 2012, sec. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

VladNormalisation = Literal["signed_sqrt", "intra"]

Array = NDArray[np.float32]

_EPSILON = 1e-12


def vlad(descriptors: Array, codebook: Array, normalisation: VladNormalisation) -> Array:
    """Sum the residuals of descriptors to their nearest centres, centre by centre, and normalise.

    Args:
        descriptors: (n, d) float32; n may be 0.
        codebook: (k, d) float32 centres.
        normalisation: Normalisation that limits the effect of bursts of equal descriptors. `signed_sqrt` takes signed
            square roots of all components (Jegou et al., TPAMI 2012, sec. 3.2), `intra` normalises the residual of each
            centre to unit length (Arandjelovic and Zisserman, CVPR 2013, sec. 3.1). The vector is normalised last.

    Returns:
        (k * d,) float32, centre after centre: unit length, or zero without residuals.
    """
    nearest = nearest_centres(descriptors, codebook)
    assigned = (nearest == np.arange(len(codebook))[:, None]).astype(np.float32)  # (k, n)
    residuals: Array = assigned @ descriptors - assigned.sum(axis=1, keepdims=True) * codebook
    normalised = unit_rows(residuals) if normalisation == "intra" else np.sign(residuals) * np.sqrt(np.abs(residuals))
    whole: Array = unit_rows(normalised.reshape(1, -1))[0]
    return whole


def nearest_centres(descriptors: Array, codebook: Array) -> NDArray[np.int64]:
    """Return the nearest centre (k, d) of each descriptor (n, d) by Euclidean distance: (n,) int64."""
    nearest: NDArray[np.int64] = (np.square(codebook).sum(axis=1) - 2.0 * descriptors @ codebook.T).argmin(axis=1)
    return nearest


def unit_rows(rows: Array) -> Array:
    """Normalise rows (n, d) to unit length; a row of zeros is unchanged."""
    unit: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _EPSILON)
    return unit


@dataclass(frozen=True, slots=True)
class PcaWhitening:
    """Centres a vector and projects it on principal components, scaled to unit deviation (Jegou and Chum, 2012).

    Attributes:
        mean: (d,) float32.
        projection: (D, d) float32.
    """

    mean: Array
    projection: Array

    def apply(self, vector: Array) -> Array:
        """Whiten a vector (d,): (D,) float32, unit length."""
        whitened: Array = unit_rows((self.projection @ (vector - self.mean))[None])[0]
        return whitened


@dataclass(frozen=True, slots=True)
class VladEncoder:
    """VLAD with its fitted parts.

    Attributes:
        codebook: (k, d) float32 centres of the descriptors.
        normalisation: Normalisation of the residuals; see `vlad`.
        whitening: PCA whitening from k * d channels to fewer; None for none.
    """

    codebook: Array
    normalisation: VladNormalisation
    whitening: PcaWhitening | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if whitening and codebook do not match."""
        channels = (self.codebook.size,)
        if self.whitening is not None and {self.whitening.mean.shape, self.whitening.projection.shape[1:]} != {
            channels
        }:
            raise ValueError(f"the whitening does not match the {channels[0]} channels of the codebook")

    @property
    def dimension(self) -> int:
        """Width of the vector that `encode` returns, D."""
        return self.codebook.size if self.whitening is None else len(self.whitening.projection)

    def encode(self, descriptors: Array) -> Array:
        """Aggregate descriptors (n, d) float32 into (D,) float32: unit length, or zero without residuals."""
        whole = vlad(descriptors, self.codebook, self.normalisation)
        if self.whitening is None:
            return whole
        if not whole.any():  # whitening would turn it into a non-zero vector
            return np.zeros(self.dimension, dtype=np.float32)
        return self.whitening.apply(whole)

    def require(self, width: int, dimension: int) -> None:
        """Raise ValueError unless it makes `dimension` channels from descriptors of width `width`."""
        if self.codebook.shape[1:] != (width,) or self.dimension != dimension:
            raise ValueError(f"a codebook {self.codebook.shape} makes no VLAD of {dimension} dimensions")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], normalisation: VladNormalisation) -> VladEncoder:
        """Return an encoder with these `arrays`; raises KeyError or ValueError if they are invalid."""
        whitening = PcaWhitening(arrays["mean"], arrays["projection"]) if "projection" in arrays else None
        return cls(arrays["codebook"], normalisation, whitening)

    def arrays(self) -> dict[str, Array]:
        """Return the fitted parts by name, as in a file."""
        parts = {"codebook": self.codebook}
        if self.whitening is not None:
            parts |= {"mean": self.whitening.mean, "projection": self.whitening.projection}
        return {name: np.ascontiguousarray(array) for name, array in parts.items()}

    @classmethod
    def load(cls, weights: Path, normalisation: VladNormalisation) -> VladEncoder:
        """Read a file that `save` wrote; raises KeyError or ValueError if it is invalid."""
        return cls.from_arrays(load_file(weights), normalisation)

    def save(self, weights: Path) -> None:
        """Write the fitted parts as safetensors."""
        save_file(self.arrays(), weights)
