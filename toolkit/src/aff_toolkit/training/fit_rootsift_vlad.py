"""Fits what VLAD over RootSIFT needs to know of photographs: a codebook, and a PCA whitening."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_contracts.bundle import ExtractorSpec
from aff_contracts.errors import AffError
from aff_contracts.preprocessing import preprocess
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.fit_pca_whitening import fit_pca_whitening
from aff_toolkit.training.training_errors import TooFewPhotographsError
from gallery_indexer.extractors.rootsift import detect_keypoints, sift_detector
from gallery_indexer.extractors.vlad_encoder import VladEncoder

_PHOTOGRAPHS = 2000
_DESCRIPTORS_EACH = 50
_ROUNDS = 30

Array = NDArray[np.float32]


def fit_rootsift_vlad(spec: ExtractorSpec, photographs: Sequence[Photograph], weights: Path, *, seed: int) -> None:
    """Fit the extractor on a sample of the photographs and write its weights; equal seeds give equal weights.

    Args:
        spec: Of family `rootsift_vlad`; says how many centres, and how wide the VLAD is at last.
        photographs: Best of the kind that will be indexed. 2,000 are drawn; those that cannot be read are left out.
        weights: Where codebook and whitening go.
        seed: Of all that is drawn.

    Raises:
        TooFewPhotographsError: Fewer keypoints than centres, or no more photographs than dimensions.
    """
    random = np.random.default_rng(seed)
    sample = [photographs[place] for place in random.permutation(len(photographs))[:_PHOTOGRAPHS]]
    some = [random.permutation(found)[:_DESCRIPTORS_EACH] for found in _descriptors(spec, sample)]
    clusters, whole = spec.config["clusters"], next(one for one in spec.features if one.kind == "global")
    _require_enough(sum(map(len, some)), clusters, "keypoints for as many centres", spec.name)
    encoder = VladEncoder(fit_codebook(np.concatenate(some), clusters, random), spec.config["normalisation"])
    if whole.dimension != encoder.dimension:
        _require_enough(len(some) - 1, whole.dimension, "photographs but one for as many dimensions", spec.name)
        # Detected twice rather than kept: that would take gigabytes.
        vectors = np.stack([encoder.encode(found) for found in _descriptors(spec, sample)])
        encoder = replace(encoder, whitening=fit_pca_whitening(vectors, whole.dimension))
    weights.parent.mkdir(parents=True, exist_ok=True)
    encoder.save(weights)


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


def _descriptors(spec: ExtractorSpec, photographs: Sequence[Photograph]) -> Iterator[Array]:
    """Give the descriptors (n, 128) of each photograph that can be read and has keypoints."""
    sift = sift_detector(spec.config["max_descriptors"])
    for photograph in photographs:
        with contextlib.suppress(AffError):
            found = detect_keypoints(sift, preprocess(photograph.load(), spec.preprocessing))
            if len(found.descriptors):
                yield found.descriptors


def _require_enough(found: int, needed: int, what: str, name: str) -> None:
    if found < needed:
        detail = f"{found} {what}, {needed} are needed; take more photographs, or fewer centres and dimensions"
        raise TooFewPhotographsError(detail, item=name)
