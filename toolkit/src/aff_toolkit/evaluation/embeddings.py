"""Embeddings of many photographs, in shards that are mapped into memory and survive a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aff_shared.errors import AffError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsMismatchError, RankingsNotWrittenError
from gallery_indexer.features.shards import (
    FeatureShardError,
    check_shard,
    map_shard,
    shard_path,
    unreadable_of,
    write_shard,
)

_DESCRIPTION = "embeddings.json"
# A kill costs no more than the photographs of a shard.
SHARD_PHOTOGRAPHS = 1024
_BATCH = 32
_THREADS = 2

Encode = Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring rows.

    Attributes:
        first: Number of the first row.
        embeddings: (n, D) float32, unit length; zero where the photograph cannot be read.
        readable: (n,) bool.
    """

    first: int
    embeddings: NDArray[np.float32]
    readable: NDArray[np.bool_]


class EmbeddingRows(Protocol):
    """Embeddings of a list of photographs, in its order, that exact search reads chunk by chunk.

    Attributes:
        count: Number of photographs.
        unreadable: Why photographs have no embedding, by row.
    """

    @property
    def count(self) -> int: ...  # noqa: D102

    @property
    def unreadable(self) -> Mapping[int, str]: ...  # noqa: D102

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order; as often as it is called."""


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of a list of photographs, in its order.

    Attributes:
        directory: Directory of the shards, which are complete and checked.
        count: Number of photographs.
    """

    directory: Path
    count: int

    def chunks(self) -> Iterator[Chunk]:
        """Yield memory-mapped shards in the order of rows.

        Raises:
            FeatureShardError: A shard is missing.
        """
        for first in range(0, self.count, SHARD_PHOTOGRAPHS):
            arrays = map_shard(shard_path(self.directory, first // SHARD_PHOTOGRAPHS))
            yield Chunk(first, arrays["embeddings"], arrays["readable"])

    @cached_property
    def unreadable(self) -> dict[int, str]:
        """Why photographs have no embedding, by row."""
        reasons: dict[int, str] = {}
        for first in range(0, self.count, SHARD_PHOTOGRAPHS):
            reasons |= unreadable_of(shard_path(self.directory, first // SHARD_PHOTOGRAPHS))
        return reasons


def embed_photographs(
    photographs: Sequence[Photograph],
    encode: Encode,
    dimension: int,
    directory: Path,
    key: str,
    on_progress: Callable[[int], None],
) -> Embeddings:
    """Embed photographs, or resume an earlier call; unreadable ones are recorded and left out.

    Args:
        photographs: N of them.
        encode: Function that returns (B, D) float32 unit vectors for B photographs.
        dimension: D.
        directory: Directory of the shards.
        key: Identity of encoder and photographs.
        on_progress: Called with the number of photographs done since the last call.

    Raises:
        RankingsMismatchError: The directory holds embeddings under another key.
        RankingsNotWrittenError: The disk is not writable; for a shard, FeatureStoreNotWrittenError.
        EncoderError: The encoder failed on a photograph that was read.
    """
    _begin(directory, key)
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(photographs), SHARD_PHOTOGRAPHS):
            path = shard_path(directory, first // SHARD_PHOTOGRAPHS)
            part = photographs[first : first + SHARD_PHOTOGRAPHS]
            if _finished(path):
                on_progress(len(part))
                continue
            embeddings = np.zeros((len(part), dimension), np.float32)
            unreadable = _fill(embeddings, _loaded(part, pool), encode, on_progress)
            readable = np.ones(len(part), np.bool_)
            readable[list(unreadable)] = False
            reasons = {first + row: reason for row, reason in unreadable.items()}
            write_shard(path, {"embeddings": embeddings, "readable": readable}, reasons)
    return Embeddings(directory, len(photographs))


def _begin(directory: Path, key: str) -> None:
    path = directory / _DESCRIPTION
    try:
        if path.exists():
            if json.loads(path.read_text(encoding="utf-8")) != {"key": key}:
                raise RankingsMismatchError("holds embeddings of another bundle or benchmark", item=str(directory))
            return
        directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"key": key}), encoding="utf-8")
        partial.rename(path)
    except ValueError as error:
        raise RankingsMismatchError("is not a description of embeddings", item=str(path)) from error
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error


def _finished(path: Path) -> bool:
    try:
        check_shard(path, verify=True)
    except FeatureShardError:
        return False
    return True


_Loaded = NDArray[np.uint8] | str


def _loaded(photographs: Sequence[Photograph], pool: ThreadPoolExecutor) -> Iterator[list[_Loaded]]:
    """Yield batches of photographs, or the reasons why they cannot be read, and load one batch ahead."""
    ahead = [pool.submit(_load, photograph) for photograph in photographs[:_BATCH]]
    for start in range(_BATCH, len(photographs) + _BATCH, _BATCH):
        pending = ahead
        ahead = [pool.submit(_load, photograph) for photograph in photographs[start : start + _BATCH]]
        yield [future.result() for future in pending]


def _load(photograph: Photograph) -> _Loaded:
    try:
        return photograph.load()
    except AffError as error:
        return f"{photograph.name}: {error.detail}"


def _fill(
    embeddings: NDArray[np.float32],
    batches: Iterator[list[_Loaded]],
    encode: Encode,
    on_progress: Callable[[int], None],
) -> dict[int, str]:
    """Write embeddings to their rows; return the reasons why rows stay zero."""
    unreadable: dict[int, str] = {}
    first = 0
    for batch in batches:
        images = {first + i: one for i, one in enumerate(batch) if not isinstance(one, str)}
        unreadable |= {first + i: one for i, one in enumerate(batch) if isinstance(one, str)}
        if images:
            embeddings[list(images)] = encode(list(images.values()))
        first += len(batch)
        on_progress(len(batch))
    return unreadable
