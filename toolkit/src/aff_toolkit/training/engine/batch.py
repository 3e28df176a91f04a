"""What a training step sees of the photographs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gallery_indexer.features.extractors.extractor import FeatureBatch


@dataclass(frozen=True, slots=True)
class Batch:
    """B photographs of the training set.

    Attributes:
        pixels: (B, S, S, 3) uint8, not augmented yet; or (B, C) float32, vectors that a frozen trunk of the query
            encoder gave of augmented photographs.
        labels: (B,) int64 in [0, C).
        features: What the frozen extractors gave, by the feature's name; empty where a training needs none.
    """

    pixels: Tensor
    labels: Tensor
    features: dict[str, FeatureBatch]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, which may still copy it from pinned memory when this returns."""
        features = {name: feature.to(device, non_blocking=True) for name, feature in self.features.items()}
        return Batch(self.pixels.to(device, non_blocking=True), self.labels.to(device, non_blocking=True), features)

    def pin_memory(self) -> Batch:
        """Return the batch in memory from which a card copies while the host goes on."""
        features = {name: feature.pin_memory() for name, feature in self.features.items()}
        return Batch(self.pixels.pin_memory(), self.labels.pin_memory(), features)
