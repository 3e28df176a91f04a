"""The mean of an image's tokens."""

from __future__ import annotations

from torch import Tensor

from gallery_indexer.features.extractors.extractor import FeatureBatch


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average tokens (B, n, d) over the True entries of the mask (B, n): (B, d), zero if there are none."""
    weights = mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def pooled(feature: FeatureBatch) -> Tensor:
    """Return a global feature unchanged, or the mean of a local one: (B, d)."""
    return masked_mean(feature.values, feature.mask)
