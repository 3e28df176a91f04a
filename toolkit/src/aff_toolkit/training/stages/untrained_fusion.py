"""A mixer without training: the extractors' features, whitened and concatenated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.extractors.fit_vlad import fit_pca_whitening
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import sample_readable
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.vlad import PcaWhitening
from gallery_indexer.features.mixers.masked_mean import pooled

_SAMPLE = 2000
_BATCH = 256
# Measured on groceries: with more components fewer photographs of one thing are found, with fewer more things are
# confused. With too few photographs per component, whitening makes all photographs equally dissimilar.
_MOST_COMPONENTS = 64
_PHOTOGRAPHS_PER_COMPONENT = 8
# Components below this share of the strongest one's deviation are rounding of the float16 in the store.
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True)
class WhitenedExtractor:
    """One extractor in the fusion.

    Attributes:
        features: Names of its global features, or of its local ones if it has no global ones.
        whitening: Whitening of their concatenation.
    """

    features: tuple[str, ...]
    whitening: PcaWhitening

    def describe(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Return the whitened feature (B, d) float32: unit length; zero where the extractor found nothing."""
        whole = concatenated(features, self.features)
        mean, projection = torch.from_numpy(self.whitening.mean), torch.from_numpy(self.whitening.projection)
        return F.normalize((whole - mean) @ projection.T, dim=1) * whole.any(dim=1, keepdim=True)


class UntrainedFusion(nn.Module):
    """A mixer without trained weights, in which all extractors contribute equally to the cosine of two photographs."""

    def __init__(self, extractors: Sequence[WhitenedExtractor]) -> None:
        super().__init__()
        self.extractors = tuple(extractors)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length; zero for an image in which no extractor found anything."""
        return F.normalize(torch.cat([extractor.describe(features) for extractor in self.extractors], dim=1), dim=1)


def fit_untrained_fusion(store: FeatureStore, extractors: Sequence[ExtractorSpec], seed: int) -> UntrainedFusion:
    """Whiten the features of each extractor on the photographs themselves (Jegou and Chum, ECCV 2012).

    Without whitening, the cosine of two photographs mostly reflects what all photographs have in common.

    Args:
        store: Store with the features, of which up to 2,000 photographs are sampled.
        extractors: Extractors of the features.
        seed: Seed of the sample.

    Raises:
        TooFewPhotographsError: No extractor has different features in enough photographs.
    """
    rows = sample_readable(store, _SAMPLE, seed)
    fitted = []
    for names in map(_described_by, extractors):
        found = _found(store, rows, names)
        width = _components_of(found)
        if width:
            fitted.append(WhitenedExtractor(names, fit_pca_whitening(found, width)))
    if not fitted:
        detail = f"{len(rows)} photographs are too few or too similar to group them"
        raise TooFewPhotographsError(detail, item="joint.pseudo_instances")
    return UntrainedFusion(fitted)


def concatenated(features: Mapping[str, FeatureBatch], names: Sequence[str]) -> Tensor:
    """Concatenate features of an extractor, local ones averaged: (B, D), unit length; zero without features."""
    return F.normalize(torch.cat([F.normalize(pooled(features[name]), dim=1) for name in names], dim=1), dim=1)


def _described_by(extractor: ExtractorSpec) -> tuple[str, ...]:
    whole = tuple(feature.name for feature in extractor.features if feature.kind == "global")
    return whole or tuple(feature.name for feature in extractor.features)


def _found(store: FeatureStore, rows: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the feature (n, D) of those photographs in which the extractor found something."""
    starts = range(0, max(len(rows), 1), _BATCH)
    batches = (store.read_features(rows[start : start + _BATCH], names) for start in starts)
    whole = np.concatenate([concatenated(batch, names).numpy() for batch in batches])
    return whole[whole.any(axis=1)]


def _components_of(vectors: NDArray[np.float32]) -> int:
    """Return the number of components of vectors (n, D) above chance and rounding errors."""
    most = min(_MOST_COMPONENTS, len(vectors) // _PHOTOGRAPHS_PER_COMPONENT)
    return min(most, int(np.linalg.matrix_rank(vectors - vectors.mean(axis=0), rtol=_LEAST_DEVIATION))) if most else 0
