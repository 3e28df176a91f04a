"""The speed of indexing compared with the extractors alone, its memory by gallery size, and the speed of remixing."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from aff_benchmarks.bench.indexing_runs import OpenedIndex, measure_memory
from aff_benchmarks.bench.measuring import alternate
from aff_benchmarks.bench.synthetic_gallery import jpeg_photograph
from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.schemas.indexing import IndexItem
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from gallery_indexer.collections.collection_runtime import ENCODER_LOADERS, load_bundle
from gallery_indexer.features.feature_cache import FeatureCache, FeatureKind
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncoderInput, ImageEncoder
from gallery_indexer.features.networks.layers import device_named
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation
from gallery_indexer.settings import IndexerSettings

_DISTINCT = 64
_Thing = TypeVar("_Thing")


class IndexBench(FrozenModel):
    """The results of an indexing benchmark.

    Attributes:
        throughput_over_bare: Speed of indexing, from JPEG bytes to points in an embedded store, relative to
            `bare_images_per_s`.
        bare_images_per_s: Images per second of extractors and mixer on photographs in memory at their input sizes.
        decode_cores: Busy cores of decoding and resizing at the bare speed.
        attainable_over_bare: Upper bound of `throughput_over_bare` on this machine: on a CPU, decoding and extractors
            share the cores.
        images: Photographs of 640 x 480 pixels per round; 64 distinct ones are repeated.
        peak_memory_mb: Peak resident memory in MiB, by gallery size, with a stand-in for the extractors; includes pages
            of the store's files, which the system can reclaim.
        peak_anonymous_mb: Peak resident memory without pages of files, in MiB, by gallery size.
        stand_in_images_per_s: Images per second with the stand-in: the speed of everything but the extractors.
    """

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


class RemixBench(FrozenModel):
    """The results of a remixing benchmark.

    Attributes:
        speedup: Seconds of decoding, extracting and mixing over those of reading features and mixing.
        again_images_per_s: Images per second from JPEG bytes, decoded in one thread.
    """

    speedup: float
    images_per_s: float
    again_images_per_s: float
    bytes_per_image: float
    images: int
    device: str


def bench_index(bundle: Path, images: int, rounds: int, sizes: Sequence[int], device: str) -> IndexBench:
    """Measure indexing of procedural photographs, and its memory at some gallery sizes."""
    load = ENCODER_LOADERS[IndexerSettings().extractor_engine]
    encoder = load(bundle, load_manifest(bundle), device=device)  # in this process, unlike the service's on a GPU
    distinct = [jpeg_photograph(number) for number in range(min(images, _DISTINCT))]
    started = time.perf_counter()
    prepared = _prepared(encoder, distinct)
    decode_s = time.perf_counter() - started
    files, inputs = _repeated(distinct, images), _repeated(prepared, images)
    seconds, bare_seconds, bare_cores = _throughput(bundle, device, encoder, files, inputs, rounds)
    memory = {size: measure_memory(size) for size in sizes}
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


def bench_remix(bundle: Path, images: int, rounds: int, device: str) -> RemixBench:
    """Measure mixing from cached features of procedural photographs, compared with decoding and extracting again."""
    manifest, size = load_manifest(bundle), IndexerSettings().batch_size
    encoder = GalleryEncoder.load(bundle, manifest, device=device)
    files = [jpeg_photograph(number) for number in range(images)]
    batches = [slice(start, start + size) for start in range(0, images, size)]
    names = [hashlib.sha256(file).hexdigest() for file in files]
    with tempfile.TemporaryDirectory() as directory:
        cache, kind = FeatureCache(Path(directory)), FeatureKind.of(manifest)
        for batch in batches:
            encoded = encoder.encode_images(_prepared(encoder, files[batch]), with_features=True)
            named = zip(names[batch], encoded, strict=True)
            cache.keep(kind, [(name, one.features) for name, one in named if one.features is not None])

        def again() -> None:
            for batch in batches:
                encoder.encode_images(_prepared(encoder, files[batch]))

        def remix() -> None:
            for batch in batches:
                encoder.fuse(list(cache.fetch(kind, names[batch]).values()))

        with closing(cache):
            again_s, remix_s = alternate(again, remix, rounds)
            return RemixBench(
                speedup=again_s / remix_s,
                images_per_s=images / remix_s,
                again_images_per_s=images / again_s,
                bytes_per_image=cache.size_bytes() / images,
                images=images,
                device=device_named(device).type,
            )


def _repeated(things: Sequence[_Thing], count: int) -> list[_Thing]:
    return list(itertools.islice(itertools.cycle(things), count))


def _prepared(encoder: ImageEncoder, files: Sequence[bytes]) -> list[EncoderInput]:
    """Decode and prepare image files in one thread."""
    prepare = PhotographPreparation(IndexerSettings().image_limits, encoder.preprocessings)
    return [prepare(file, "bench").pixels for file in files]


def _throughput(
    bundle: Path,
    device: str,
    encoder: ImageEncoder,
    files: Sequence[bytes],
    prepared: Sequence[EncoderInput],
    rounds: int,
) -> tuple[float, float, float]:
    """Return the seconds of indexing, those of the bare encoder, and the busy cores of the latter."""
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
        settings = IndexerSettings(device=device)
        loaded = runner.run(load_bundle(bundle, settings, ENCODER_LOADERS[settings.extractor_engine]))
        runner.run(store.create(loaded.manifest.space))
        index = runner.run(OpenedIndex.open(loaded.encoder, store, loaded.manifest.space))

        def whole() -> None:
            runner.run(index.index([UploadedImage(data=file, item=IndexItem(id=next(ids))) for file in files]))

        seconds, bare_seconds = alternate(whole, bare, rounds)
        index.close()
        loaded.close()
        runner.run(store.close())
    return seconds, bare_seconds, statistics.median(cpu / wall for cpu, wall in bare_cpu)
