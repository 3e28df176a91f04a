"""Fits what VLAD over the keypoints of an extractor needs to know of photographs: a codebook, and a PCA whitening."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import AffError
from aff_shared.schemas.preprocessing import preprocess
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.extractors.fit_codebook import fit_codebook
from aff_toolkit.models.extractors.fit_pca_whitening import fit_pca_whitening
from gallery_indexer.features.extractors.vlad_encoder import VladEncoder

_PHOTOGRAPHS = 2000
_DESCRIPTORS_EACH = 50

Array = NDArray[np.float32]
Describe = Callable[[NDArray[np.uint8]], Array]


def fit_vlad(spec: ExtractorSpec, describe: Describe, photographs: Sequence[Photograph], *, seed: int) -> VladEncoder:
    """Fit codebook and whitening on a sample of the photographs; equal seeds give equal ones.

    Args:
        spec: Has one global feature, of the width that the VLAD has at last; its `config` has `clusters` and
            `normalisation`.
        describe: Gives the descriptors (n, d) float32 of pixels (h, w, 3) uint8 RGB at the input size; n may be 0.
        photographs: Best of the kind that will be indexed. 2,000 are drawn; those that cannot be read are left out.
        seed: Of all that is drawn.

    Raises:
        TooFewPhotographsError: Fewer keypoints than centres, or no more photographs than dimensions.
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
    # Detected twice rather than kept: that would take gigabytes.
    vectors = np.stack([encoder.encode(found) for found in _descriptors(spec, describe, sample)])
    return replace(encoder, whitening=fit_pca_whitening(vectors, whole.dimension))


def _descriptors(spec: ExtractorSpec, describe: Describe, photographs: Sequence[Photograph]) -> Iterator[Array]:
    """Give the descriptors (n, d) of each photograph that can be read and has keypoints."""
    for photograph in photographs:
        with contextlib.suppress(AffError):
            found = describe(preprocess(photograph.load(), spec.preprocessing))
            if len(found):
                yield found


def _require_enough(found: int, needed: int, what: str, name: str) -> None:
    if found < needed:
        detail = f"{found} {what}, {needed} are needed; take more photographs, or fewer centres and dimensions"
        raise TooFewPhotographsError(detail, item=name)
