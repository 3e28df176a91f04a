"""Gallery embeddings of the photographs of a feature store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_toolkit.training.features.feature_store import FeatureStore

_BATCH = 256


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
        store: Holds every feature of the mixer.
        rows: Rows of readable photographs.
        mixer: On whatever device.
        copy: Which version of each photograph.
        names: The mixer's features; those of the store when None.
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
        store: Holds every feature of the mixer.
        rows: (N,) rows of readable photographs.
        labels: (N,) int64 in [0, C), each of them at least once.
        mixer: Left in evaluation mode.
    """
    embeddings = torch.from_numpy(embed_rows(store, rows, mixer.eval()))
    counts = torch.bincount(labels)
    sums = torch.zeros(len(counts), embeddings.shape[1]).index_add_(0, labels, embeddings)
    return sums / counts[:, None]
