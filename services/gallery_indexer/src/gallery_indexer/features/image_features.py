"""Converts batches of features to features per image, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from aff_shared.bundles.bundle import FeatureSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.image_encoder import ImageFeatures, Tokens


def images_of(batch: Mapping[str, FeatureBatch], specs: Sequence[FeatureSpec]) -> list[dict[str, Tokens]]:
    """Split a batch into images; values beyond float16 become infinite."""
    images: list[dict[str, Tokens]] = []
    for spec in specs:
        feature = batch[spec.name]
        with np.errstate(over="ignore"):
            values = feature.values.cpu().numpy().astype(np.float16)
        mask = feature.mask.cpu().numpy()
        positions = None if feature.positions is None else feature.positions.cpu().numpy().astype(np.float16)
        images = images or [{} for _ in range(len(values))]
        for row, image in enumerate(images):
            kept = mask[row]
            image[spec.name] = Tokens(values[row][kept], None if positions is None else positions[row][kept])
    return images


def batch_of(images: Sequence[ImageFeatures], specs: Sequence[FeatureSpec]) -> dict[str, FeatureBatch]:
    """Combine images into a batch of float32; local features are padded to the longest of the batch."""
    return {spec.name: _feature_of([image[spec.name] for image in images], spec) for spec in specs}


def _feature_of(tokens: Sequence[Tokens], spec: FeatureSpec) -> FeatureBatch:
    longest = max(1, *(len(one.values) for one in tokens))
    values = np.zeros((len(tokens), longest, spec.dimension), dtype=np.float32)
    positions = np.zeros((len(tokens), longest, 2), dtype=np.float32)
    mask = np.zeros((len(tokens), longest), dtype=np.bool_)
    for row, one in enumerate(tokens):
        count = len(one.values)
        values[row, :count], mask[row, :count] = one.values, True
        if one.positions is not None:
            positions[row, :count] = one.positions
    placed = None if spec.kind == "global" else torch.from_numpy(positions)
    return FeatureBatch(torch.from_numpy(values), torch.from_numpy(mask), placed)
