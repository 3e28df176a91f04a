"""Indexes a synthetic gallery and prints its peak memory: `python -m aff_benchmarks.bench.index_memory SIZE DIRECTORY`.

Everything is the live path but the encoder: a random projection of the photograph at 16 x 16 pixels stands in for the
extractors, so that 100,000 images take a minute.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.bench.bench_index import OpenedIndex
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexItem
from aff_shared.schemas.preprocessing import Preprocessing
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageFeatures
from gallery_indexer.indexing.uploaded_image import UploadedImage

_DIMENSION = 512
_SIDE = 16
_PHOTOGRAPH_SIDE = 96
_AT_A_TIME = 1024
_SAMPLE_S = 0.02


class _StandIn:
    preprocessings = (Preprocessing(resize="stretch", size=_SIDE),)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._projection = rng.standard_normal((3 * _SIDE**2, _DIMENSION)).astype(np.float32)

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        assert not with_features, "nothing is kept here"
        rows = np.stack([pixels.reshape(-1) for (pixels,) in images]).astype(np.float32) - 127.5
        projected = rows @ self._projection
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        return [EncodedImage(row, ("stand_in",)) for row in projected]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        raise NotImplementedError("this stand-in has no features")


class _AnonymousPeak:
    """Samples the anonymous part of this process's resident memory."""

    def __init__(self) -> None:
        self.kib = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.kib = max(self.kib, _status_kib("RssAnon"))

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


def _status_kib(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "Linux tells it"
    return int(found[1])


def _photograph(number: int) -> bytes:
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8).repeat(_PHOTOGRAPH_SIDE // 6, 0)
    return cv2.imencode(".jpg", pixels.repeat(_PHOTOGRAPH_SIDE // 6, 1))[1].tobytes()


async def _index(size: int, directory: Path) -> None:
    store = await QdrantEdgeStore.open(directory, StoreSettings(url=""))
    try:
        space = EmbeddingSpace(id="0" * 64, dimension=_DIMENSION)
        await store.create(space)
        with closing(OpenedIndex(_StandIn(), store, space)) as index:
            for start in range(0, size, _AT_A_TIME):
                numbers = range(start, min(start + _AT_A_TIME, size))
                images = [UploadedImage(data=_photograph(n), item=IndexItem(id=str(n))) for n in numbers]
                await index.index(images)
    finally:
        await store.close()


def main() -> None:
    """Index, and print `peak_memory_mb`, `peak_anonymous_mb` and `images_per_s` as JSON."""
    size, directory = int(sys.argv[1]), Path(sys.argv[2])
    with closing(_AnonymousPeak()) as anonymous:
        started = time.perf_counter()
        asyncio.run(_index(size, directory))
        seconds = time.perf_counter() - started
    found = {
        "peak_memory_mb": _status_kib("VmHWM") / 1024,
        "peak_anonymous_mb": anonymous.kib / 1024,
        "images_per_s": size / seconds,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
