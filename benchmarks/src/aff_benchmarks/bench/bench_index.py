"""What indexing costs beside the extractors alone, and how much memory it takes as the gallery grows."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.measuring import alternate
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexItem
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes.view import render_view
from gallery_indexer.collections.collection_runtime import LoadedBundle, load_bundle, open_pipeline
from gallery_indexer.features.device import device_named
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncoderInput, ImageEncoder
from gallery_indexer.indexing.index_gallery import IndexGallery
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation
from gallery_indexer.indexing.retrying_store import RetryingStore
from gallery_indexer.indexing.uploaded_image import UploadedImage
from gallery_indexer.settings import IndexerSettings

_PHOTOGRAPH_SIZE = (480, 640)
_DISTINCT = 64
_REQUEST_IMAGES = 32
_REQUESTS_IN_FLIGHT = 4
_BATCHES_ASKED = 6  # of which the pipeline takes four


_Thing = TypeVar("_Thing")


class IndexBench(BaseModel):
    """What was measured.

    Attributes:
        throughput_over_bare: Speed of indexing, from JPEG bytes to points in an embedded store, as a share of the bare
            speed.
        images_per_s: Of indexing.
        bare_images_per_s: Of extractors and mixer on photographs that lie in memory at their input sizes.
        bare_cores: Cores that the extractors and the mixer keep busy.
        decode_cores: Cores that decoding and resizing keep busy at the bare speed.
        attainable_over_bare: What the machine's cores allow of the bare speed: on a CPU, decoding takes from the
            extractors what it needs.
        images: Photographs of 640 x 480 pixels of a round; they repeat after 64, which the pipeline does not notice.
        batch_size: Most photographs embedded together.
        cores: Of the machine.
        device: Of the extractors.
        peak_memory_mb: Peak of the resident memory in MiB, by images in the gallery, with a stand-in for the
            extractors; the store's files, which the system may drop from memory, are part of it.
        peak_anonymous_mb: Peak of what is not part of a file, likewise.
        stand_in_images_per_s: Speed with that stand-in: what all but the extractors allows.
    """

    model_config = ConfigDict(frozen=True)

    throughput_over_bare: float
    images_per_s: float
    bare_images_per_s: float
    bare_cores: float
    decode_cores: float
    attainable_over_bare: float
    images: int
    batch_size: int
    cores: int
    device: str
    peak_memory_mb: dict[int, float]
    peak_anonymous_mb: dict[int, float]
    stand_in_images_per_s: dict[int, float]


class OpenedIndex:
    """The live use case on an embedded store of its own, with the service's default settings."""

    def __init__(self, encoder: ImageEncoder, store: QdrantEdgeStore, space: EmbeddingSpace) -> None:
        settings, metrics = IndexerSettings(), IndexMetrics(CollectorRegistry())
        patient = RetryingStore(store, wait_s=settings.store_wait_s)
        self._pipeline = open_pipeline(encoder, patient, settings, metrics)
        self._use_case = IndexGallery(
            patient, space, self._pipeline, metrics, PayloadLimits(settings.max_payload_bytes)
        )
        self._requests = asyncio.Semaphore(
            max(_REQUESTS_IN_FLIGHT, _BATCHES_ASKED * settings.batch_size // _REQUEST_IMAGES)
        )

    async def index(self, images: Sequence[UploadedImage]) -> None:
        """Index images in requests of 32, so many at a time that the pipeline is full; all have to be new."""

        async def request(part: Sequence[UploadedImage]) -> int:
            async with self._requests:
                return sum(receipt.status == "indexed" for receipt in await self._use_case.index(part))

        starts = range(0, len(images), _REQUEST_IMAGES)
        indexed = await asyncio.gather(*(request(images[start : start + _REQUEST_IMAGES]) for start in starts))
        if sum(indexed) != len(images):
            raise RuntimeError(f"{sum(indexed)} of {len(images)} images were indexed")

    def close(self) -> None:
        """End the workers."""
        self._pipeline.close()


def bench_index(bundle: Path, images: int, rounds: int, sizes: Sequence[int], device: str) -> IndexBench:
    """Measure on procedural photographs.

    Args:
        bundle: Whose extractors and mixer are used.
        images: Photographs of a round.
        rounds: Of which the median counts.
        sizes: Images of the galleries whose memory is measured.
        device: Of the extractors.

    Raises:
        BundleError: The bundle cannot be used.
    """
    manifest = load_manifest(bundle)
    encoder = GalleryEncoder.load(bundle, manifest, device=device)  # the bare one is not in a process of its own
    distinct = [encoded_photograph(number) for number in range(min(images, _DISTINCT))]
    prepared, decode_s = _prepared(encoder, distinct)
    seconds, bare_seconds, bare_cores = _throughput(
        bundle, encoder, _repeated(distinct, images), _repeated(prepared, images), rounds
    )
    memory = {size: _memory_of_gallery(size) for size in sizes}
    cores, decode_cores = usable_cores(), decode_s / len(distinct) * images / bare_seconds
    return IndexBench(
        throughput_over_bare=bare_seconds / seconds,
        images_per_s=images / seconds,
        bare_images_per_s=images / bare_seconds,
        bare_cores=bare_cores,
        decode_cores=decode_cores,
        attainable_over_bare=min(1.0, cores / (bare_cores + decode_cores)),
        images=images,
        batch_size=IndexerSettings().batch_size,
        cores=cores,
        device=device_named(device).type,
        peak_memory_mb={size: one["peak_memory_mb"] for size, one in memory.items()},
        peak_anonymous_mb={size: one["peak_anonymous_mb"] for size, one in memory.items()},
        stand_in_images_per_s={size: one["images_per_s"] for size, one in memory.items()},
    )


def encoded_photograph(number: int) -> bytes:
    """Return a procedural photograph of 640 x 480 pixels as a JPEG file."""
    pixels = cv2.cvtColor(render_view(number, 0, size=_PHOTOGRAPH_SIZE), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _repeated(things: Sequence[_Thing], count: int) -> list[_Thing]:
    return list(itertools.islice(itertools.cycle(things), count))


def _prepared(encoder: GalleryEncoder, files: Sequence[bytes]) -> tuple[list[EncoderInput], float]:
    """Decode and prepare in one thread; also gives the seconds that it took."""
    prepare = PhotographPreparation(IndexerSettings().image_limits, encoder.preprocessings)
    started = time.perf_counter()
    prepared = [prepare(file, "bench").image for file in files]
    return prepared, time.perf_counter() - started


def _throughput(
    bundle: Path,
    encoder: GalleryEncoder,
    files: Sequence[bytes],
    prepared: Sequence[EncoderInput],
    rounds: int,
) -> tuple[float, float, float]:
    """Give the seconds of indexing, those of the bare encoder, and the cores that the latter keeps busy."""
    batch_size = IndexerSettings().batch_size
    bare_cpu: list[tuple[float, float]] = []

    def bare() -> None:
        started, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(prepared), batch_size):
            encoder.encode_images(prepared[start : start + batch_size])
        bare_cpu.append((time.process_time() - cpu, time.perf_counter() - started))

    ids = map(str, itertools.count())
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        store = runner.run(QdrantEdgeStore.open(Path(directory), StoreSettings(url="")))
        loaded = runner.run(load_bundle(bundle, IndexerSettings(device=encoder.device.type), GalleryEncoder.load))
        runner.run(store.create(loaded.manifest.space))
        index = runner.run(_opened(loaded, store))

        def whole() -> None:
            runner.run(index.index([UploadedImage(data=file, item=IndexItem(id=next(ids))) for file in files]))

        seconds, bare_seconds = alternate(whole, bare, rounds)
        index.close()
        loaded.close()
        runner.run(store.close())
    return seconds, bare_seconds, statistics.median(cpu / wall for cpu, wall in bare_cpu)


async def _opened(loaded: LoadedBundle, store: QdrantEdgeStore) -> OpenedIndex:
    return OpenedIndex(loaded.encoder, store, loaded.manifest.space)


def _memory_of_gallery(size: int) -> dict[str, float]:
    """Measure in a process of its own, since a peak belongs to a process."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "aff_benchmarks.bench.index_memory", str(size), directory]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found
