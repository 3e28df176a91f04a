"""Estimates the size and the time of a feature store by extracting a sample of the photographs."""

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
    """Estimated size and time of a store.

    Attributes:
        photographs: Number of photographs.
        shards: Number of files.
        size_bytes: Size of the whole store.
        hours: Time of the extraction on this machine.
        images_per_s: Photographs per second of the whole extraction.
        sampled: Number of measured photographs.
        unreadable: Number of unreadable ones among them.
        free_bytes: Free space on the disk of the store.
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
        """Whether the disk has enough space."""
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
    """Extract a random sample into a temporary directory, and extrapolate to all photographs.

    Args:
        photographs: Photographs to describe.
        extractors: Which extractors `extract` runs.
        extract: Function that returns the features of a batch of photographs.
        directory: Directory of the planned store; nothing is written there.
        settings: Settings of the store.
        sample: Maximum number of measured photographs.
        on_progress: Called with the number of photographs done since the last call.

    Raises:
        FeatureStoreError: See extract_features.
    """
    places = np.random.default_rng(_SEED).permutation(len(photographs))[:sample]
    chosen = [photographs[place] for place in np.sort(places)]
    with tempfile.TemporaryDirectory() as temporary:
        # The first batch includes one-time costs of loading and compiling.
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
    """Return the nearest existing folder of a path."""
    return next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
