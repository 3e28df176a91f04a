"""What a feature store would take, in bytes and hours: a sample of the photographs is really extracted."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.features.extract_features import Extract, OnProgress, extract_features
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings, describe_store

_SECONDS_PER_HOUR = 3600.0
_SEED = 0


class FeaturePlan(BaseModel):
    """Sizes and times of a store that is not made yet.

    Attributes:
        photographs: Their number.
        shards: Number of files.
        size_bytes: Of the whole store.
        hours: Of the extraction on this machine.
        images_per_s: Photographs a second, with everything that an extraction does.
        sampled: Photographs that the figures were measured on.
        unreadable: How many of them could not be read.
        free_bytes: Free on the disk where the store would lie.
    """

    model_config = ConfigDict(frozen=True)

    photographs: int
    shards: int
    size_bytes: int
    hours: float
    images_per_s: float
    sampled: int
    unreadable: int
    free_bytes: int

    @property
    def fits(self) -> bool:
        """False where the disk has no room for it."""
        return self.size_bytes <= self.free_bytes


def plan_features(
    photographs: Sequence[Photograph],
    extractors: ExtractorSet,
    extract: Extract,
    directory: Path,
    settings: StoreSettings,
    *,
    sample: int,
    on_progress: OnProgress,
) -> FeaturePlan:
    """Extract a random sample into a temporary directory, and tell what all photographs would take.

    Args:
        photographs: What would be described.
        extractors: Which extractors `extract` runs.
        extract: Gives the features of a batch of photographs.
        directory: Where the store would lie; nothing is written there.
        settings: Of the store.
        sample: Photographs to measure on, at most.
        on_progress: Called with the number of photographs done since the last call.

    Raises:
        FeatureStoreError: See extract_features.
    """
    places = np.random.default_rng(_SEED).permutation(len(photographs))[:sample]
    chosen = [photographs[place] for place in np.sort(places)]
    with tempfile.TemporaryDirectory() as temporary:
        # The first batch pays for what is loaded and compiled once.
        warm = chosen[: settings.batch_size]
        extract_features(warm, extractors, extract, Path(temporary, "warm"), settings, lambda _: None)
        started = time.perf_counter()
        store = extract_features(chosen, extractors, extract, Path(temporary, "sample"), settings, on_progress)
        seconds = time.perf_counter() - started
        written = sum(path.stat().st_size for path in Path(temporary, "sample").iterdir())
        unreadable = len(store.unreadable())
    return FeaturePlan(
        photographs=len(photographs),
        shards=describe_store(photographs, extractors, settings).shards,
        size_bytes=round(written / len(chosen) * len(photographs)),
        hours=seconds / len(chosen) * len(photographs) / _SECONDS_PER_HOUR,
        images_per_s=len(chosen) / seconds,
        sampled=len(chosen),
        unreadable=unreadable,
        free_bytes=shutil.disk_usage(_existing(directory)).free,
    )


def _existing(directory: Path) -> Path:
    """Return the nearest folder above that is there."""
    return next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
