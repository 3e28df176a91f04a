"""Training photographs that an exported query encoder is calibrated and compared on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.training.features.feature_store import FeatureStore

_BATCH = 32


def sample_readable(store: FeatureStore, count: int, seed: int) -> NDArray[np.int64]:
    """Choose rows of a store at random, up to `count` of those that could be read; in ascending order."""
    rows = np.flatnonzero(store.readable)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


@dataclass(frozen=True, slots=True)
class CalibrationPhotographs:
    """Batches (b, S, S, 3) uint8 of kept photographs; may be gone through again and again, one batch in memory.

    Attributes:
        store: Keeps their pixels.
        rows: (N,) rows of the store.
        preprocessing: Brings them to the side S that the query encoder takes.
    """

    store: FeatureStore
    rows: NDArray[np.int64]
    preprocessing: Preprocessing

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Read and yield batch after batch."""
        for start in range(0, len(self.rows), _BATCH):
            pixels = self.store.read_pixels(self.rows[start : start + _BATCH])
            yield np.stack([preprocess(image, self.preprocessing) for image in pixels])
