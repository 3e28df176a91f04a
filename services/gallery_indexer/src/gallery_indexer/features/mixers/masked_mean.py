"""The mean of the tokens that an image has."""

from __future__ import annotations

from torch import Tensor

from gallery_indexer.features.extractors.extractor import FeatureBatch


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average tokens (B, n, d) over those that the mask (B, n) holds: (B, d), zero where there is none."""
    weights = mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def pooled(feature: FeatureBatch) -> Tensor:
    """Return a global feature as it is, and the mean of a local one: (B, d)."""
    return masked_mean(feature.values, feature.mask)
