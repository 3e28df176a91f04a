"""Gallery embeddings of the photographs of a feature store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aff_toolkit.training.feature_store.feature_store import FeatureStore

_BATCH = 256


@torch.inference_mode()
def embed_rows(store: FeatureStore, rows: NDArray[np.int64], mixer: nn.Module, *, copy: int = 0) -> NDArray[np.float32]:
    """Embed rows (n,) of a store by a mixer in evaluation mode: (n, D) float32, unit length.

    Args:
        store: Holds every feature of the mixer.
        rows: Rows of readable photographs.
        mixer: On whatever device.
        copy: Which version of each photograph.
    """
    weight = next(mixer.parameters(), None)  # the identity mixer has none
    device = torch.device("cpu") if weight is None else weight.device
    embeddings = []
    for start in range(0, len(rows), _BATCH):
        features = store.read_features(rows[start : start + _BATCH], copies=copy)
        embeddings.append(mixer({name: batch.to(device) for name, batch in features.items()}).float().cpu().numpy())
    return np.concatenate(embeddings)


def mean_embeddings(
    store: FeatureStore, instances: Sequence[str], names: Sequence[str], mixer: nn.Module
) -> torch.Tensor:
    """Average the gallery embeddings of each instance: (C, D) float32.

    Args:
        store: Holds every feature of the mixer.
        instances: Name of the instance of each row of the store; rows with an empty one are left out.
        names: C names, in the order of the result; each has a readable row.
        mixer: Left in evaluation mode.
    """
    rows = np.flatnonzero(store.readable & (np.asarray(instances) != ""))
    numbers = {name: number for number, name in enumerate(names)}
    labels = torch.tensor([numbers[instances[row]] for row in rows.tolist()])
    embeddings = torch.from_numpy(embed_rows(store, rows, mixer.eval()))
    sums = torch.zeros(len(names), embeddings.shape[1]).index_add_(0, labels, embeddings)
    return sums / torch.bincount(labels, minlength=len(names))[:, None]
