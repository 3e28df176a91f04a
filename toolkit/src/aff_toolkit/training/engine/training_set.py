"""The training set of a stage: rows of a feature store with labels, their batches, and reading them ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from aff_toolkit.training.features.feature_store import FeatureStore
from gallery_indexer.features.extractors.extractor import FeatureBatch

_SEED_STRIDE = 1_000_003
_Place = TypeVar("_Place")
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of B photographs of the training set.

    Attributes:
        pixels: (B, S, S, 3) uint8, not augmented yet; or (B, C) float32, outputs of a frozen trunk of the query encoder
            for augmented photographs.
        labels: (B,) int64 in [0, C).
        features: Features of the frozen extractors by name; empty if the training needs none.
    """

    pixels: Tensor
    labels: Tensor
    features: dict[str, FeatureBatch]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; copies from pinned memory may still be in progress."""
        features = {name: feature.to(device, non_blocking=True) for name, feature in self.features.items()}
        return Batch(self.pixels.to(device, non_blocking=True), self.labels.to(device, non_blocking=True), features)

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies asynchronously."""
        features = {name: feature.pin_memory() for name, feature in self.features.items()}
        return Batch(self.pixels.pin_memory(), self.labels.pin_memory(), features)


class TrainingSet(Dataset[Batch]):
    """The readable photographs of a store.

    Attributes:
        rows: (N,) int64 rows of the store.
        labels: (N,) int64 in [0, C); photographs of one instance have one label.
        instances: Names of the C instances, by label.
    """

    def __init__(self, store: FeatureStore, features: Sequence[str], *, instances: Sequence[str] | None = None) -> None:
        """Select the readable rows of a store with pixels and the named features, which the batches contain.

        Args:
            store: The store.
            features: Names of features.
            instances: Instance of every row, if not the store's (pseudo-instances); rows with an empty name are left
                out.
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
        """Read the batch of (epoch, row numbers); successive epochs use different copies of the features."""
        epoch, numbers = place
        rows = self.rows[numbers.numpy()]
        features = {}
        if self._features:
            copies = (rows + epoch) % self._store.copies
            features = self._store.read_features(rows, self._features, copies)
        return Batch(self._images(epoch, rows), self.labels[numbers], features)

    def _images(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:  # noqa: ARG002 - for a subclass
        """Return the query encoder's inputs for rows of the store: their pixels, which a step augments."""
        return torch.from_numpy(self._store.read_pixels(rows))


def generator_of(seed: int, number: int) -> torch.Generator:
    """Return the random generator of one epoch or one step."""
    return torch.Generator().manual_seed(seed * _SEED_STRIDE + number)


def shuffled_batches(samples: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return every row once, in random order, in full batches (size,) int64; an incomplete last batch is dropped."""
    rows = torch.randperm(samples, generator=generator)
    return list(rows[: samples // size * size].view(-1, size))


def paired_batches(labels: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return batches of size / 2 pairs of rows with equal labels (N,) int64, every row at most once.

    Returns:
        Full batches (size,) int64; unpaired rows and an incomplete last batch are dropped. Their number is the same in
        every epoch.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    rows = shuffled[labels[shuffled].argsort(stable=True)]
    runs = rows.split(torch.bincount(labels).tolist())
    pairs = torch.cat([rows.new_empty(0, 2), *(run[: len(run) // 2 * 2].view(-1, 2) for run in runs)])
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    per_batch = size // 2
    return list(pairs[: len(pairs) // per_batch * per_batch].reshape(-1, size))


def read_ahead(read: Callable[[_Place], _Read], places: Iterable[_Place], *, threads: int) -> Iterator[_Read]:
    """Yield `read(place)` of every place in order; up to twice as many results as threads are kept.

    Threads rather than processes: reading mapped files and pinning memory release the interpreter lock, and no data has
    to be sent between processes.

    Raises:
        Exception: The exception that `read` raised, at the position of its place.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as readers:
        waiting: deque[Future[_Read]] = deque()
        try:
            for place in places:
                waiting.append(readers.submit(read, place))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
