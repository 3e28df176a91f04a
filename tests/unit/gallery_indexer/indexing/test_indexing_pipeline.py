from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from aff_shared.errors import AffError, EmptyImageError, EncoderError, StoreUnavailableError, WorkerError
from aff_shared.images.decoding import ImageLimits
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.preprocessing import Preprocessing
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask, UploadedImage
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.workers.shared_pixel_buffer import SharedPixelBuffer
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.interruptible_gallery_store import InterruptibleGalleryStore
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _EncoderOfZeros:
    preprocessings = (Preprocessing(resize="longest_side", size=4096),)

    def __init__(self, *extractors: str) -> None:
        self._extractors = extractors

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        assert not with_features
        return [EncodedImage(np.zeros(4, dtype=np.float32), self._extractors) for _ in images]


class _RecordingStore(MemoryGalleryStore):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        self.writes.append(len(points))
        await super().upsert(points)


@asynccontextmanager
async def _pipeline(
    encoder: ImageEncoder,
    store: MemoryGalleryStore | None = None,
    registry: CollectorRegistry | None = None,
    *,
    batch_size: int = 8,
    store_wait_s: float = 0.0,
    buffer: SharedPixelBuffer | None = None,
) -> AsyncIterator[IndexingPipeline]:
    store = store or MemoryGalleryStore()
    await store.create(EmbeddingSpace(id="a" * 64, dimension=4))
    pipeline = IndexingPipeline(
        encoder,
        store,
        ImageLimits(),
        IndexMetrics(registry or CollectorRegistry()),
        batch_size=batch_size,
        batch_wait_s=5.0,
        decode_workers=2,
        decode_timeout_s=60.0,
        store_wait_s=store_wait_s,
        buffer=buffer,
    )
    with closing(pipeline):
        yield pipeline


def _task(data: bytes, name: str = "photo.png") -> IndexTask:
    return IndexTask.of(0, UploadedImage(data=data, name=name), PayloadLimits(0))


async def _embed(pipeline: IndexingPipeline, *tasks: IndexTask) -> list[GalleryPoint | AffError]:
    return await asyncio.gather(*map(pipeline.embed, tasks))


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not true within ten seconds")


async def test_each_image_of_a_batch_has_its_own_embedding_and_size() -> None:
    encoder = FakeGalleryEncoder()
    tasks = _task(plain_png(RED, width=40, height=30)), _task(plain_png(BLUE, width=20, height=50))
    async with _pipeline(encoder) as pipeline:
        red, blue = await _embed(pipeline, *tasks)
    assert isinstance(red, GalleryPoint)
    assert isinstance(blue, GalleryPoint)
    half = 0.5**0.5  # mean colour (1, 0, 0) with the constant 1, normalised
    np.testing.assert_allclose(red.embedding, [half, 0, 0, half], atol=1e-6)
    np.testing.assert_allclose(blue.embedding, [0, 0, half, half], atol=1e-6)
    assert (red.record.width, red.record.height, blue.record.width, blue.record.height) == (40, 30, 20, 50)
    assert (red.record.extractors, blue.record.extractors) == (("eye",), ("eye",))
    assert encoder.batch_sizes == [2]


async def test_images_of_one_batch_are_written_together() -> None:
    store = _RecordingStore()
    async with _pipeline(FakeGalleryEncoder(), store) as pipeline:
        await _embed(pipeline, *(_task(plain_png((value, 0, 0))) for value in range(6)))
    assert store.writes == [6]
    assert await store.count() == 6


async def test_an_image_that_cannot_be_decoded_fails_alone() -> None:
    encoder = FakeGalleryEncoder()
    async with _pipeline(encoder) as pipeline:
        empty, red = await _embed(pipeline, _task(b"", "empty.png"), _task(plain_png(RED)))
    assert isinstance(empty, EmptyImageError)
    assert empty.item == "empty.png"
    assert isinstance(red, GalleryPoint)
    assert red.embedding[0] > 0
    assert encoder.batch_sizes == [1]


async def test_an_image_that_makes_the_encoder_raise_fails_alone() -> None:
    store = _RecordingStore()
    tasks = _task(plain_png(RED)), _task(plain_png(GREEN), "bad.png"), _task(plain_png(BLUE))
    async with _pipeline(FakeGalleryEncoder(poison=GREEN), store) as pipeline:
        red, green, blue = await _embed(pipeline, *tasks)
    assert isinstance(red, GalleryPoint)
    assert isinstance(blue, GalleryPoint)
    assert red.embedding[0] > 0
    assert blue.embedding[2] > 0
    assert isinstance(green, EncoderError)
    assert green.item == "bad.png"
    assert store.writes == [2]


async def test_an_image_is_not_rejected_if_the_decoding_process_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    encoder, store = FakeGalleryEncoder(), MemoryGalleryStore()
    async with _pipeline(encoder, store, buffer=SharedPixelBuffer(encoder.preprocessings, 4)) as pipeline:
        with pytest.raises(WorkerError, match="cannot be started"):
            await pipeline.embed(_task(plain_png(RED)))
    assert await store.count() == 0


async def test_images_are_not_rejected_if_the_encoder_process_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise WorkerStartError("the process that runs the encoder cannot be started")

    monkeypatch.setattr(FakeGalleryEncoder, "encode_images", fail)
    async with _pipeline(FakeGalleryEncoder()) as pipeline:
        for colour in (RED, GREEN):
            with pytest.raises(WorkerStartError):
                await pipeline.embed(_task(plain_png(colour)))


async def test_a_vector_that_is_not_of_unit_length_is_never_stored() -> None:
    store = MemoryGalleryStore()
    async with _pipeline(_EncoderOfZeros("eye"), store) as pipeline:
        (result,) = await _embed(pipeline, _task(plain_png(RED)))
    assert isinstance(result, EncoderError)
    assert result.detail == "the encoder returned no unit vector for this image"
    assert await store.count() == 0


async def test_an_image_in_which_no_extractor_finds_anything_is_rejected_with_that_reason() -> None:
    async with _pipeline(_EncoderOfZeros()) as pipeline:
        (result,) = await _embed(pipeline, _task(plain_png(RED)))
    assert isinstance(result, EncoderError)
    assert "no extractor of the bundle finds anything" in result.detail


async def test_at_most_four_batches_of_images_are_in_memory() -> None:
    registry, encoder = CollectorRegistry(), FakeGalleryEncoder()
    encoder.gate.clear()

    def prepared() -> float | None:
        return registry.get_sample_value("aff_index_stage_duration_seconds_count", {"stage": "prepare"})

    async with _pipeline(encoder, registry=registry, batch_size=2) as pipeline:
        running = [asyncio.create_task(pipeline.embed(_task(plain_png((value, 0, 0))))) for value in range(12)]
        await _until(lambda: prepared() == 8)
        await asyncio.sleep(0.1)  # enough time for a ninth
        assert prepared() == 8
        assert registry.get_sample_value("aff_index_images_in_flight") == 12
        encoder.gate.set()
        await asyncio.gather(*running)
    assert prepared() == 12
    assert registry.get_sample_value("aff_index_images_in_flight") == 0


async def test_a_batch_is_decoded_while_another_is_embedded_and_a_third_is_written() -> None:
    encoder, store = FakeGalleryEncoder(), _HeldStore()
    async with _pipeline(encoder, store, batch_size=1) as pipeline:
        first = asyncio.create_task(pipeline.embed(_task(plain_png(RED))))
        await _until(lambda: store.writing == 1)
        encoder.gate.clear()
        encoder.called.clear()
        second = asyncio.create_task(pipeline.embed(_task(plain_png(BLUE))))
        await _until(encoder.called.is_set)
        empty = await pipeline.embed(_task(b""))
        assert isinstance(empty, EmptyImageError)
        assert not first.done()
        assert not second.done()
        encoder.gate.set()
        store.free.set()
        await asyncio.gather(first, second)


class _HeldStore(MemoryGalleryStore):
    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.writing = 0

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        self.writing += 1
        await self.free.wait()
        await super().upsert(points)


async def test_the_pipeline_waits_for_an_unavailable_store_and_loses_no_image() -> None:
    store = InterruptibleGalleryStore(writes_left=1)
    async with _pipeline(FakeGalleryEncoder(), store, batch_size=2, store_wait_s=30.0) as pipeline:
        running = [asyncio.create_task(pipeline.embed(_task(plain_png((value, 0, 0))))) for value in range(8)]
        await _until(lambda: store.refused > 0)
        assert await store.count() == 2
        store.writes_left = None
        results = await asyncio.gather(*running)
    assert all(isinstance(result, GalleryPoint) for result in results)
    assert await store.count() == 8


async def test_a_store_that_stays_unavailable_fails_the_images() -> None:
    store = InterruptibleGalleryStore()
    async with _pipeline(FakeGalleryEncoder(), store, store_wait_s=0.1) as pipeline:
        store.writes_left = 0
        with pytest.raises(StoreUnavailableError):
            await pipeline.embed(_task(plain_png(RED)))
    assert store.refused > 1


async def test_a_cancelled_image_takes_no_place() -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    async with _pipeline(encoder, batch_size=1) as pipeline:
        running = [asyncio.create_task(pipeline.embed(_task(plain_png((value, 0, 0))))) for value in range(4)]
        await _until(encoder.called.is_set)
        for task in running:
            task.cancel()
        encoder.gate.set()
        result = await asyncio.wait_for(pipeline.embed(_task(plain_png(BLUE))), timeout=10)
    assert isinstance(result, GalleryPoint)
