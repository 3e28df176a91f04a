"""Fits what VLAD over RootSIFT needs to know of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.models.extractors.fit_vlad import fit_vlad
from gallery_indexer.features.extractors.rootsift import detect_keypoints, sift_detector


def fit_rootsift_vlad(spec: ExtractorSpec, photographs: Sequence[Photograph], weights: Path, *, seed: int) -> None:
    """Fit the extractor on a sample of the photographs and write its weights; equal seeds give equal weights.

    Args:
        spec: Of family `rootsift_vlad`; says how many centres, and how wide the VLAD is at last.
        photographs: See fit_vlad.
        weights: Where codebook and whitening go.
        seed: Of all that is drawn.

    Raises:
        TooFewPhotographsError: Fewer keypoints than centres, or no more photographs than dimensions.
    """
    sift = sift_detector(spec.config["max_descriptors"])
    encoder = fit_vlad(spec, lambda pixels: detect_keypoints(sift, pixels).descriptors, photographs, seed=seed)
    weights.parent.mkdir(parents=True, exist_ok=True)
    encoder.save(weights)
