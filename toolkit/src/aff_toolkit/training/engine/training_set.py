"""The training set of a stage: rows of a feature store, with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from aff_toolkit.training.engine.batch import Batch
from aff_toolkit.training.features.feature_store import FeatureStore


class TrainingSet(Dataset[Batch]):
    """The readable photographs of a store.

    Attributes:
        rows: (N,) int64, of the store.
        labels: (N,) int64 in [0, C); photographs of one instance have one label.
        instances: C names, by label.
    """

    def __init__(self, store: FeatureStore, features: Sequence[str], *, instances: Sequence[str] | None = None) -> None:
        """Take the readable rows of a store.

        Args:
            store: Holds the pixels, and the features named.
            features: What the batches hold beside pixels and labels.
            instances: Instance of every row of the store, where it is not the store's own (pseudo-instances); rows
                with an empty name are left out.
        """
        names = np.asarray(store.instances if instances is None else instances)
        self._store = store
        self._features = tuple(features)
        self.rows = np.flatnonzero(store.readable & (names != ""))
        self.instances, labels = np.unique(names[self.rows], return_inverse=True)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    @property
    def classes(self) -> int:
        """Number of instances, C."""
        return len(self.instances)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: tuple[int, Tensor]) -> Batch:
        """Read the batch of (epoch, row numbers); every epoch takes another copy of the features."""
        epoch, numbers = place
        rows = self.rows[numbers.numpy()]
        features = {}
        if self._features:
            copies = (rows + epoch) % self._store.copies
            features = self._store.read_features(rows, self._features, copies)
        return Batch(self._images(epoch, rows), self.labels[numbers], features)

    def _images(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:  # noqa: ARG002 - a subclass takes copies by it
        """Return what the query encoder learns from, of rows of the store: their pixels, which a step augments."""
        return torch.from_numpy(self._store.read_pixels(rows))
