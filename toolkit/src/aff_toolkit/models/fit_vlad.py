"""Fits VLAD over the keypoints of an extractor on photographs: a codebook, and a PCA whitening."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import AffError
from aff_shared.schemas.preprocessing import preprocess
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TooFewPhotographsError
from gallery_indexer.features.extractors.vlad import PcaWhitening, VladEncoder

_PHOTOGRAPHS = 2000
_DESCRIPTORS_EACH = 50

Array = NDArray[np.float32]
Describe = Callable[[NDArray[np.uint8]], Array]
_ROUNDS = 30


def fit_vlad(spec: ExtractorSpec, describe: Describe, photographs: Sequence[Photograph], *, seed: int) -> VladEncoder:
    """Fit codebook and whitening on a sample of up to 2,000 readable photographs; the seed determines the result.

    Args:
        spec: Specification with one global feature, of the VLAD's final width, and with `clusters` and `normalisation`
            in its `config`.
        describe: Function that returns descriptors (n, d) float32 of pixels (h, w, 3) uint8 RGB at the input size; n
            may be 0.
        photographs: Photographs, preferably like those that will be indexed.
        seed: Seed of all random choices.

    Raises:
        TooFewPhotographsError: There are fewer keypoints than centres, or no more photographs than dimensions.
    """
    random = np.random.default_rng(seed)
    sample = [photographs[place] for place in random.permutation(len(photographs))[:_PHOTOGRAPHS]]
    some = [random.permutation(found)[:_DESCRIPTORS_EACH] for found in _descriptors(spec, describe, sample)]
    clusters, whole = spec.config["clusters"], next(one for one in spec.features if one.kind == "global")
    _require_enough(sum(map(len, some)), clusters, "keypoints for as many centres", spec.name)
    encoder = VladEncoder(fit_codebook(np.concatenate(some), clusters, random), spec.config["normalisation"])
    if whole.dimension == encoder.dimension:
        return encoder
    _require_enough(len(some) - 1, whole.dimension, "photographs but one for as many dimensions", spec.name)
    # Detected twice, because storing them would take gigabytes.
    vectors = np.stack([encoder.encode(found) for found in _descriptors(spec, describe, sample)])
    return replace(encoder, whitening=fit_pca_whitening(vectors, whole.dimension))


def _descriptors(spec: ExtractorSpec, describe: Describe, photographs: Sequence[Photograph]) -> Iterator[Array]:
    """Yield the descriptors (n, d) of each readable photograph with keypoints."""
    for photograph in photographs:
        with contextlib.suppress(AffError):
            found = describe(preprocess(photograph.load(), spec.preprocessing))
            if len(found):
                yield found


def _require_enough(found: int, needed: int, what: str, name: str) -> None:
    if found < needed:
        detail = f"{found} {what}, {needed} are needed; use more photographs, or fewer centres and dimensions"
        raise TooFewPhotographsError(detail, item=name)


def fit_codebook(descriptors: Array, clusters: int, random: np.random.Generator) -> Array:
    """Find k centres (k, d) float32 of descriptors (n, d) float32, n >= k, by k-means from k-means++ seeds."""
    cv2.setRNGSeed(int(random.integers(2**31)))
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 1e-4)
    labels = np.zeros((len(descriptors), 1), dtype=np.int32)
    _, _, centres = cv2.kmeans(descriptors, clusters, labels, until, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres, dtype=np.float32)


def fit_pca_whitening(vectors: NDArray[np.float32], dimension: int) -> PcaWhitening:
    """Fit the whitening on vectors (n, d) with n > dimension.

    The eigenvectors are those of the small matrix of inner products (n, n): for a unit eigenvector u with the
    eigenvalue s, X^T u / sqrt(s) is the component, and s / (n - 1) is the variance along it.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    eigenvalues, eigenvectors = np.linalg.eigh(centred @ centred.T)
    strongest = slice(None, -dimension - 1, -1)
    scales = np.sqrt(len(vectors) - 1) / np.maximum(eigenvalues[strongest], 1e-12)
    projection = (eigenvectors[:, strongest] * scales).T @ centred
    return PcaWhitening(mean.astype(np.float32), projection.astype(np.float32))
