"""Reads a feature store: random rows, straight from the mapped files, and their gallery embeddings."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.training.features.store_description import PHOTOGRAPHS_NAME, StoreDescription
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.shards import FeatureStoreError, check_shard, map_shard, shard_path, unreadable_of

# Every mapped file holds a descriptor; the usual limit of a process is 1,024.
_MAPPED_SHARDS = 512

_ADVICE = "run the extraction again: it keeps the shards"

Rows = NDArray[np.int64]
_BATCH = 256
_PHOTOGRAPHS_AT_ONCE = 32


class FeatureStore:
    """Features of N photographs.

    Attributes:
        readable: (N,) bool; False for unreadable photographs, whose features and pixels are zero.
        pixel_size: Side of the stored photographs in pixels; None if none are stored.
        copies: Versions of each photograph, of which the first is the original.
    """

    def __init__(self, directory: Path, description: StoreDescription) -> None:
        self._directory = directory
        self._description = description
        self._mapped: OrderedDict[int, dict[str, NDArray[Any]]] = OrderedDict()
        self._lock = Lock()  # several threads may read
        self.features: tuple[FeatureSpec, ...] = description.features
        self.pixel_size = description.pixel_size
        self.copies = description.copies
        self.names, self.instances = _read_photographs(directory / PHOTOGRAPHS_NAME, description.photographs)
        self.readable = np.ones(len(self.names), dtype=np.bool_)
        self.readable[list(self.unreadable())] = False

    @classmethod
    def open(cls, directory: Path, *, verify: bool = False) -> FeatureStore:
        """Open a finished store; `verify` checks the sha256 of every shard, which reads all data.

        Raises:
            FeatureStoreError: There is no store, or it is of another release.
            FeatureShardError: A shard is missing or altered; names it.
        """
        description = StoreDescription.read(directory)
        for number in range(description.shards):
            check_shard(shard_path(directory, number), verify=verify)
        return cls(directory, description)

    @property
    def key(self) -> str:
        """The sha256 of all inputs of the store."""
        return self._description.key

    def __len__(self) -> int:
        return self._description.photographs

    def __reduce__(self) -> tuple[Any, ...]:
        """Reopen the store in a worker process, instead of pickling mapped files."""
        return FeatureStore, (self._directory, self._description)

    def unreadable(self) -> dict[int, str]:
        """Return the reasons why photographs could not be read, by row."""
        reasons: dict[int, str] = {}
        for number in range(self._description.shards):
            reasons |= unreadable_of(shard_path(self._directory, number))
        return reasons

    def read_pixels(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the stored photographs of rows (B,): (B, S, S, 3) uint8.

        Raises:
            FeatureStoreError: The store has no pixels.
        """
        size = self.pixel_size
        if size is None:
            raise FeatureStoreError("keeps no pixels; extract again with a pixel size", item=str(self._directory))
        pixels = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for places, shard, entries in self._by_shard(rows):
            pixels[places] = shard["pixels"][entries]
        return pixels

    def read_features(
        self, rows: Rows, names: Sequence[str] | None = None, copies: NDArray[np.int64] | int = 0
    ) -> dict[str, FeatureBatch]:
        """Return features of rows (B,) as float32; local ones are padded to the longest of the batch.

        `names` None reads all features; `copies` is the version of each photograph, (B,) or one number for all.

        Raises:
            FeatureStoreError: The store has no such feature.
        """
        known = {feature.name: feature for feature in self.features}
        wanted = list(known) if names is None else list(names)
        missing = [name for name in wanted if name not in known]
        if missing:
            detail = f"has no feature {', '.join(missing)}; it has {', '.join(known) or 'none'}"
            raise FeatureStoreError(detail, item=str(self._directory))
        versions = np.broadcast_to(np.asarray(copies, dtype=np.int64), (len(rows),))
        return {name: self._read_feature(known[name], rows, versions) for name in wanted}

    def _read_feature(self, feature: FeatureSpec, rows: Rows, versions: Rows) -> FeatureBatch:
        if feature.kind == "global":
            values = np.empty((len(rows), feature.dimension), dtype=np.float16)
            for places, shard, entries in self._by_shard(rows):
                values[places] = shard[feature.name][entries, versions[places]]
            return FeatureBatch.from_global(torch.from_numpy(values).float())
        return self._read_local(feature, rows, versions)

    def _read_local(self, feature: FeatureSpec, rows: Rows, versions: Rows) -> FeatureBatch:
        counts = np.zeros(len(rows), dtype=np.int64)
        parts = []
        for places, shard, entries in self._by_shard(rows):
            offsets = shard[f"{feature.name}.offsets"]
            at = entries * self.copies + versions[places]
            starts = offsets[at]
            counts[places] = offsets[at + 1] - starts
            parts.append((places, shard, starts))
        longest = max(int(counts.max(initial=0)), 1)
        values = np.zeros((len(rows), longest, feature.dimension), dtype=np.float16)
        positions = np.zeros((len(rows), longest, 2), dtype=np.float16)
        mask = np.arange(longest) < counts[:, None]
        for places, shard, starts in parts:
            own = counts[places]
            token = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
            source, row = np.repeat(starts, own) + token, np.repeat(places, own)
            values[row, token] = shard[f"{feature.name}.values"][source]
            positions[row, token] = shard[f"{feature.name}.positions"][source]
        return FeatureBatch(
            torch.from_numpy(values).float(), torch.from_numpy(mask), torch.from_numpy(positions).float()
        )

    def _by_shard(self, rows: Rows) -> list[tuple[Rows, dict[str, NDArray[Any]], Rows]]:
        """Group rows by shard: places in the batch, the mapped arrays, and rows within the shard."""
        numbers, entries = np.divmod(rows, self._description.shard_photographs)
        groups = []
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            groups.append((places, self._shard(int(number)), entries[places]))
        return groups

    def _shard(self, number: int) -> dict[str, NDArray[Any]]:
        with self._lock:
            if number not in self._mapped:
                self._mapped[number] = map_shard(shard_path(self._directory, number))
                if len(self._mapped) > _MAPPED_SHARDS:
                    self._mapped.popitem(last=False)
            self._mapped.move_to_end(number)
            return self._mapped[number]


def _read_photographs(path: Path, count: int) -> tuple[list[str], list[str]]:
    names, instances = [], []
    known: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                name, instance = json.loads(line)
                names.append(name)
                instances.append(known.setdefault(instance, instance))
    except (OSError, ValueError, TypeError) as error:
        raise FeatureStoreError(f"cannot be read: {error}; {_ADVICE}", item=str(path)) from error
    if len(names) != count:
        raise FeatureStoreError(f"lists {len(names)} photographs of {count}; {_ADVICE}", item=str(path))
    return names, instances


@torch.inference_mode()
def embed_rows(
    store: FeatureStore, rows: NDArray[np.int64], mixer: nn.Module, *, copy: int = 0, names: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Embed rows (n,) of a store by a mixer in evaluation mode, on any device: (n, D) float32, unit length.

    The photographs are readable; `copy` is their version. `names` are the mixer's features, by default the store's.
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
    """Iterable of batches (b, S, S, 3) uint8 of stored photographs (N,), resized to the query encoder's side S."""

    store: FeatureStore
    rows: NDArray[np.int64]
    preprocessing: Preprocessing

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the batches."""
        for start in range(0, len(self.rows), _PHOTOGRAPHS_AT_ONCE):
            pixels = self.store.read_pixels(self.rows[start : start + _PHOTOGRAPHS_AT_ONCE])
            yield np.stack([preprocess(image, self.preprocessing) for image in pixels])
