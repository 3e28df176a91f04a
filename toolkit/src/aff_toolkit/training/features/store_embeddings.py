"""Gallery embeddings of a feature store's photographs, and samples of them for calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.training.features.feature_store import FeatureStore

_BATCH = 256
_PHOTOGRAPHS_AT_ONCE = 32


@torch.inference_mode()
def embed_rows(
    store: FeatureStore,
    rows: NDArray[np.int64],
    mixer: nn.Module,
    *,
    copy: int = 0,
    names: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Embed rows (n,) of a store by a mixer in evaluation mode: (n, D) float32, unit length.

    Args:
        store: Store with every feature of the mixer.
        rows: Rows of readable photographs.
        mixer: Mixer on any device.
        copy: Version of each photograph.
        names: Features of the mixer; None uses those of the store.
    """
    weight = next(mixer.parameters(), None)  # the identity mixer has none
    device = torch.device("cpu") if weight is None else weight.device
    embeddings = []
    for start in range(0, len(rows), _BATCH):
        features = store.read_features(rows[start : start + _BATCH], names, copies=copy)
        embeddings.append(mixer({name: batch.to(device) for name, batch in features.items()}).float().cpu().numpy())
    return np.concatenate(embeddings)


def mean_embeddings(store: FeatureStore, rows: NDArray[np.int64], labels: Tensor, mixer: nn.Module) -> Tensor:
    """Average the gallery embeddings of each instance: (C, D) float32.

    Args:
        store: Store with every feature of the mixer.
        rows: (N,) rows of readable photographs.
        labels: (N,) int64 in [0, C), each of them at least once.
        mixer: Mixer, left in evaluation mode.
    """
    embeddings = torch.from_numpy(embed_rows(store, rows, mixer.eval()))
    counts = torch.bincount(labels)
    sums = torch.zeros(len(counts), embeddings.shape[1]).index_add_(0, labels, embeddings)
    return sums / counts[:, None]


def sample_readable(store: FeatureStore, count: int, seed: int) -> NDArray[np.int64]:
    """Choose up to `count` readable rows of a store at random, in ascending order."""
    rows = np.flatnonzero(store.readable)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


@dataclass(frozen=True, slots=True)
class CalibrationPhotographs:
    """Iterable of batches (b, S, S, 3) uint8 of stored photographs, with one batch in memory.

    Attributes:
        store: Store with pixels.
        rows: (N,) rows of the store.
        preprocessing: Preprocessing to the query encoder's input side S.
    """

    store: FeatureStore
    rows: NDArray[np.int64]
    preprocessing: Preprocessing

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the batches."""
        for start in range(0, len(self.rows), _PHOTOGRAPHS_AT_ONCE):
            pixels = self.store.read_pixels(self.rows[start : start + _PHOTOGRAPHS_AT_ONCE])
            yield np.stack([preprocess(image, self.preprocessing) for image in pixels])
