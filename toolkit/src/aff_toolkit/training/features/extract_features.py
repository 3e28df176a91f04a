"""Runs frozen extractors over photographs once, into a feature store, or over a sample to estimate size and time."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_shared.errors import AffError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.data.augmentation import augment
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import (
    DESCRIPTION_NAME,
    PHOTOGRAPHS_NAME,
    ExtractorSet,
    StoreDescription,
    StoreSettings,
    describe_store,
)
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.shards import (
    FeatureShardError,
    FeatureStoreMismatchError,
    FeatureStoreNotWrittenError,
    ShardBuilder,
    check_shard,
    shard_path,
    write_shard,
)

Extract = Callable[[Images], Mapping[str, FeatureBatch]]
OnProgress = Callable[[int], None]
_Loaded = tuple[int, NDArray[np.uint8] | str]  # row and photograph, or the reason why it cannot be read

_COPY_SEED_STRIDE = 1_000_003


def extract_features(
    photographs: Sequence[Photograph],
    extractors: ExtractorSet,
    extract: Extract,
    directory: Path,
    settings: StoreSettings,
    on_progress: OnProgress,
) -> FeatureStore:
    """Create a store, or complete one: finished shards are kept, damaged ones are replaced.

    Unreadable photographs are recorded and left out. The next batch is loaded while the extractors run, and a shard is
    written while the next one is computed. `extract` runs the extractors on a batch; `on_progress` is called with the
    number of photographs done since the last call.

    Raises:
        FeatureStoreError: The store in the directory cannot be read.
        FeatureStoreMismatchError: The directory contains another store.
        FeatureNotFiniteError: An extractor returned NaN or infinity; names the photograph.
        FeatureStoreNotWrittenError: The disk is full or not writable; finished shards are kept.
    """
    description = describe_store(photographs, extractors, settings)
    _begin(directory, description, photographs)
    with ThreadPoolExecutor(settings.decode_threads) as loaders, ThreadPoolExecutor(1) as writer:
        written: list[Future[None]] = []
        for number in range(description.shards):
            if _finished(shard_path(directory, number)):
                on_progress(len(description.rows_of(number)))
                continue
            builder = _build(description, number, photographs, extract, settings, loaders, on_progress)
            for shard in written:
                shard.result()
            written = [writer.submit(write_shard, shard_path(directory, number), builder.arrays(), builder.unreadable)]
        for shard in written:
            shard.result()
    return FeatureStore.open(directory)


def _begin(directory: Path, description: StoreDescription, photographs: Sequence[Photograph]) -> None:
    """Write the description, if it does not exist, and the list of photographs, which a kill may have truncated.

    Raises:
        FeatureStoreMismatchError: The directory contains another store, or shards without a description.
        FeatureStoreNotWrittenError: The disk is full or not writable.
    """
    begun = (directory / DESCRIPTION_NAME).exists()
    if begun and StoreDescription.read(directory).key != description.key:
        detail = "holds features of other extractors, photographs or settings. Use another directory, or remove it"
        raise FeatureStoreMismatchError(detail, item=str(directory))
    if not begun and any(directory.glob("shard-*")):
        detail = f"holds shards without {DESCRIPTION_NAME}. Use another directory, or remove it"
        raise FeatureStoreMismatchError(detail, item=str(directory))
    lines = (json.dumps([photograph.name, photograph.instance]) + "\n" for photograph in photographs)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_whole(directory / PHOTOGRAPHS_NAME, lines)
        _write_whole(directory / DESCRIPTION_NAME, [description.model_dump_json(indent=2) + "\n"])
    except OSError as error:
        detail = f"{error.strerror or error}. Free some space and run it again"
        raise FeatureStoreNotWrittenError(detail, item=str(directory)) from error


def _write_whole(path: Path, lines: Iterable[str]) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(lines)
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _finished(path: Path) -> bool:
    try:
        check_shard(path, verify=True)
    except FeatureShardError:
        return False
    return True


def _build(
    description: StoreDescription,
    number: int,
    photographs: Sequence[Photograph],
    extract: Extract,
    settings: StoreSettings,
    loaders: ThreadPoolExecutor,
    on_progress: OnProgress,
) -> ShardBuilder:
    rows, size = description.rows_of(number), description.pixel_size
    builder = ShardBuilder(rows, description.features, description.copies, size)
    for batch in _loaded_batches(rows, photographs, settings, loaders):
        readable = [(row, image) for row, image in batch if not isinstance(image, str)]
        for row, reason in batch:
            if isinstance(reason, str):
                builder.add_unreadable(row, reason)
        for row, image in readable:
            builder.add_pixels(row, None if size is None else _stretched(image, size))
        if readable and description.features:
            own = [row for row, _ in readable]
            names = [photographs[row].name for row in own]
            builder.add_features(own, names, 0, extract([image for _, image in readable]))
            for copy in range(1, description.copies):
                builder.add_features(own, names, copy, extract(_augmented(readable, copy, settings)))
        on_progress(len(batch))
    return builder


def _loaded_batches(
    rows: range, photographs: Sequence[Photograph], settings: StoreSettings, loaders: ThreadPoolExecutor
) -> Iterator[list[_Loaded]]:
    """Yield the photographs of a shard in batches, and load one batch ahead."""
    ahead: list[Future[_Loaded]] = []
    for start in range(0, len(rows) + settings.batch_size, settings.batch_size):
        pending = ahead
        ahead = [loaders.submit(_load, row, photographs[row]) for row in rows[start : start + settings.batch_size]]
        if pending:
            yield [future.result() for future in pending]


def _load(row: int, photograph: Photograph) -> _Loaded:
    try:
        return row, photograph.load()
    except AffError as error:
        return row, f"{photograph.name}: {error.detail}"


def _stretched(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return preprocess(image, Preprocessing(resize="stretch", size=size))


def _augmented(
    readable: Sequence[tuple[int, NDArray[np.uint8]]], copy: int, settings: StoreSettings
) -> list[NDArray[np.uint8]]:
    """Return an augmented version of each photograph; a function of seed, row and copy."""
    images = []
    for row, image in readable:
        pixels = _stretched(image, settings.augmented_size)
        seed = (settings.seed * _COPY_SEED_STRIDE + row) * _COPY_SEED_STRIDE + copy
        version = augment(torch.from_numpy(pixels)[None], settings.augmented_size, seed % 2**63, settings.augmentation)
        images.append(version[0].round().to(torch.uint8).numpy())
    return images


class FeaturePlan(BaseModel):
    """Estimated files, size and time of a store on this machine, the measured sample, and the free disk space."""

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
    """Extract a random sample into a temporary directory, and extrapolate to all photographs; see extract_features.

    At most `sample` photographs are measured; nothing is written into the directory.
    """
    places = np.random.default_rng(0).permutation(len(photographs))[:sample]
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
    existing = next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
    return FeaturePlan(
        photographs=len(photographs),
        shards=describe_store(photographs, extractors, settings).shards,
        size_bytes=round(written / len(chosen) * len(photographs)),
        hours=seconds / len(chosen) * len(photographs) / 3600,
        images_per_s=len(chosen) / seconds,
        sampled=len(chosen),
        unreadable=unreadable,
        free_bytes=shutil.disk_usage(existing).free,
    )
