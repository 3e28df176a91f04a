"""Validation during a training: held-out photographs of the feature store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aff_toolkit.data.augmentation import augment
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.training.engine.training_loop import SELECTED
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import embed_rows

_BATCH = 64
_SEED = 11


@dataclass(frozen=True, slots=True)
class Validation:
    """Queries and gallery, both rows of a store, which score the current models.

    Attributes:
        store: Feature store with pixels and every feature of the mixer.
        queries: (Q,) rows.
        gallery: (G,) rows.
        labels: Instance name of each row of the store; equal names are positives.
        size: Side in pixels of the query encoder's input.
        augmented: Whether the queries are augmented versions of their photographs.
    """

    store: FeatureStore
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    labels: NDArray[np.str_]
    size: int
    augmented: bool

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """Return `asymmetric_map`, from 0 to 1, of two models in evaluation mode."""
        gallery = embed_rows(self.store, self.gallery, mixer)
        queries = self._embed_queries(query_encoder)
        scores = score_embeddings(
            queries, gallery, self.labels[self.queries].tolist(), self.labels[self.gallery].tolist()
        )
        return {SELECTED: scores.map}

    @torch.inference_mode()
    def _embed_queries(self, query_encoder: nn.Module) -> NDArray[np.float32]:
        device = next(query_encoder.parameters()).device
        embeddings = []
        for start in range(0, len(self.queries), _BATCH):
            pixels = torch.from_numpy(self.store.read_pixels(self.queries[start : start + _BATCH])).to(device)
            images = augment(pixels, self.size, _SEED + start) if self.augmented else stretch(pixels, self.size)
            embeddings.append(query_encoder(images).float().cpu().numpy())
        return np.concatenate(embeddings)


def stretch(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Resize photographs (B, S, S, 3) as in service: (B, size, size, 3), float32 unless S is size."""
    if pixels.shape[1] == size:
        return pixels
    planes = nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return planes.permute(0, 2, 3, 1)
