"""Indexing runs that need a separate process: peak memory of the pipeline, and a tutorial's plain loop."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry

from aff_benchmarks.bench.synthetic_gallery import jpeg_photograph
from aff_shared.bundles.bundle import load_manifest
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexItem
from aff_shared.schemas.preprocessing import Preprocessing
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_shared.store.settings import StoreSettings
from gallery_indexer.collections.collection_runtime import open_pipeline
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageEncoder, ImageFeatures
from gallery_indexer.indexing.index_gallery import IndexGallery
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.indexing.photograph_preparation import prepare_photograph
from gallery_indexer.settings import IndexerSettings

_MODULE = "aff_benchmarks.bench.indexing_runs"
_DIMENSION = 512
_SIDE = 16
_PHOTOGRAPH_SIDE = 96
_CHUNK = 1024
_SAMPLE_S = 0.02
_REQUEST_IMAGES = 32
_LEAST_CONCURRENT_REQUESTS = 4
_CONCURRENT_BATCHES = 6  # the pipeline holds four
_DISTINCT, _WARM_UP = 64, 4


class OpenedIndex:
    """The indexing use case on an embedded store, with the service's default settings."""

    def __init__(self, encoder: ImageEncoder, store: QdrantEdgeStore, space: EmbeddingSpace) -> None:
        settings, metrics = IndexerSettings(), IndexMetrics(CollectorRegistry())
        self._pipeline = open_pipeline(encoder, store, settings, metrics)
        limits = PayloadLimits(settings.max_payload_bytes)
        self._use_case = IndexGallery(store, space, self._pipeline, metrics, limits, store_wait_s=settings.store_wait_s)
        concurrent = _CONCURRENT_BATCHES * settings.batch_size // _REQUEST_IMAGES
        self._requests = asyncio.Semaphore(max(_LEAST_CONCURRENT_REQUESTS, concurrent))

    @classmethod
    async def open(cls, encoder: ImageEncoder, store: QdrantEdgeStore, space: EmbeddingSpace) -> OpenedIndex:
        """Open it on the running event loop, to which the pipeline belongs."""
        return cls(encoder, store, space)

    async def index(self, images: Sequence[UploadedImage]) -> None:
        """Index new images in requests of 32, with enough concurrent requests to keep the pipeline full.

        Raises:
            RuntimeError: An image was not indexed.
        """

        async def request(part: Sequence[UploadedImage]) -> int:
            async with self._requests:
                return sum([receipt.status == "indexed" async for receipt in self._use_case.receipts(part)])

        starts = range(0, len(images), _REQUEST_IMAGES)
        indexed = await asyncio.gather(*(request(images[start : start + _REQUEST_IMAGES]) for start in starts))
        if sum(indexed) != len(images):
            raise RuntimeError(f"{sum(indexed)} of {len(images)} images were indexed")

    def close(self) -> None:
        """Stop the workers."""
        self._pipeline.close()


class _StandIn:
    preprocessings = (Preprocessing(resize="stretch", size=_SIDE),)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._projection = rng.standard_normal((3 * _SIDE**2, _DIMENSION)).astype(np.float32)

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        assert not with_features, "features are not kept"
        rows = np.stack([pixels.reshape(-1) for (pixels,) in images]).astype(np.float32) - 127.5
        projected = rows @ self._projection
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        return [EncodedImage(row, ("stand_in",)) for row in projected]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        raise NotImplementedError


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
    assert found is not None, "Linux reports it"
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
            for start in range(0, size, _CHUNK):
                numbers = range(start, min(start + _CHUNK, size))
                await index.index([UploadedImage(data=_photograph(n), item=IndexItem(id=str(n))) for n in numbers])
    finally:
        await store.close()


def _memory(size: str) -> dict[str, float]:
    """Index a synthetic gallery; only the encoder is replaced, so that 100,000 images take a minute."""
    with tempfile.TemporaryDirectory() as directory, closing(_AnonymousPeak()) as anonymous:
        started = time.perf_counter()
        asyncio.run(_index(int(size), Path(directory)))
        images_per_s = int(size) / (time.perf_counter() - started)
    peaks = {"peak_memory_mb": _status_kib("VmHWM") / 1024, "peak_anonymous_mb": anonymous.kib / 1024}
    return {**peaks, "images_per_s": images_per_s}


async def _index_plainly(encoder: GalleryEncoder, store: QdrantEdgeStore, files: Sequence[bytes]) -> None:
    """Index as tutorials do: decode, prepare, extract, mix and store each photograph before the next."""
    for number, file in enumerate(files):
        photograph = Image.open(io.BytesIO(file)).convert("RGB")
        prepared = prepare_photograph(np.asarray(photograph), encoder.preprocessings)
        (encoded,) = encoder.encode_images([prepared])
        digest = hashlib.sha256(file).hexdigest()
        record = GalleryRecord(str(number), digest, photograph.width, photograph.height, datetime.now(UTC), {})
        await store.upsert([GalleryPoint(record, encoded.embedding)])


async def _plain(bundle: str, images: str, device: str) -> dict[str, float]:
    manifest, count = load_manifest(Path(bundle)), int(images)
    encoder = GalleryEncoder.load(Path(bundle), manifest, device=device)
    distinct = [jpeg_photograph(number) for number in range(min(count, _DISTINCT))]
    with tempfile.TemporaryDirectory() as directory:
        store = await QdrantEdgeStore.open(Path(directory), StoreSettings(url=""))
        await store.create(manifest.space)
        await _index_plainly(encoder, store, distinct[:_WARM_UP])
        began = time.perf_counter()
        await _index_plainly(encoder, store, [distinct[number % len(distinct)] for number in range(count)])
        seconds = time.perf_counter() - began
        await store.close()
    return {"images_per_s": count / seconds}


def measure_memory(size: int) -> dict[str, float]:
    """Return `peak_memory_mb`, `peak_anonymous_mb` and `images_per_s` of indexing a synthetic gallery."""
    return _in_process("memory", size)


def plain_images_per_s(bundle: Path, images: int, device: str) -> float:
    """Return the images per second of a tutorial's loop, with photographs of 640 x 480 pixels and an embedded store."""
    return _in_process("plain", bundle, images, device)["images_per_s"]


def _in_process(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", _MODULE, *map(str, arguments)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    """Run `memory SIZE` or `plain BUNDLE IMAGES DEVICE`, and print the result as JSON."""
    kind, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(_memory(*arguments) if kind == "memory" else asyncio.run(_plain(*arguments))))


if __name__ == "__main__":
    main()
