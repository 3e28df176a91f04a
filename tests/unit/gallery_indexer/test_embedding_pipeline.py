from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from aff_contracts.errors import EmptyImageError, EncoderError
from aff_contracts.image_decoding import ImageLimits
from gallery_indexer.embedding_pipeline import EmbeddedImage, EmbeddingPipeline
from gallery_indexer.identified_image import IdentifiedImage, identify
from gallery_indexer.image_encoder import EncodedImage, ImageEncoder
from gallery_indexer.incoming_image import IncomingImage
from gallery_indexer.index_metrics import IndexMetrics
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.plain_photograph import plain_png

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _EncoderOfZeros:
    decode_min_side = 16

    def __init__(self, *extractors: str) -> None:
        self._extractors = extractors

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> list[EncodedImage]:
        return [EncodedImage(np.zeros(4, dtype=np.float32), self._extractors) for _ in images]


@contextmanager
def _pipeline(encoder: ImageEncoder, registry: CollectorRegistry | None = None) -> Iterator[EmbeddingPipeline]:
    metrics = IndexMetrics(registry or CollectorRegistry())
    with closing(EmbeddingPipeline(encoder, ImageLimits(), metrics, decode_threads=2)) as pipeline:
        yield pipeline


def _image(data: bytes, name: str = "photo.png") -> IdentifiedImage:
    return identify(0, IncomingImage(data=data, name=name), max_payload_bytes=0)


async def test_each_image_of_a_batch_gets_its_own_embedding_and_size() -> None:
    encoder = FakeGalleryEncoder()
    images = [_image(plain_png(RED, width=40, height=30)), _image(plain_png(BLUE, width=20, height=50))]
    with _pipeline(encoder) as pipeline:
        red, blue = await pipeline.embed(images)
    assert isinstance(red, EmbeddedImage)
    assert isinstance(blue, EmbeddedImage)
    half = 0.5**0.5  # mean colour (1, 0, 0) with the constant 1, brought to unit length
    np.testing.assert_allclose(red.embedding, [half, 0, 0, half], atol=1e-6)
    np.testing.assert_allclose(blue.embedding, [0, 0, half, half], atol=1e-6)
    assert (red.width, red.height, blue.width, blue.height) == (40, 30, 20, 50)
    assert (red.extractors, blue.extractors) == (("eye",), ("eye",))
    assert encoder.batch_sizes == [2]


async def test_an_image_that_does_not_decode_leaves_the_others_their_embeddings() -> None:
    encoder = FakeGalleryEncoder()
    with _pipeline(encoder) as pipeline:
        empty, red = await pipeline.embed([_image(b"", "empty.png"), _image(plain_png(RED))])
    assert isinstance(empty, EmptyImageError)
    assert empty.item == "empty.png"
    assert isinstance(red, EmbeddedImage)
    assert red.embedding[0] > 0
    assert encoder.batch_sizes == [1]


async def test_a_batch_of_which_nothing_decodes_never_reaches_the_encoder() -> None:
    encoder = FakeGalleryEncoder()
    with _pipeline(encoder) as pipeline:
        await pipeline.embed([_image(b"")])
    assert encoder.batch_sizes == []


async def test_an_image_that_makes_the_encoder_raise_is_found_and_fails_alone() -> None:
    encoder = FakeGalleryEncoder(poison=GREEN)
    images = [_image(plain_png(RED)), _image(plain_png(GREEN), "bad.png"), _image(plain_png(BLUE))]
    with _pipeline(encoder) as pipeline:
        red, green, blue = await pipeline.embed(images)
    assert isinstance(red, EmbeddedImage)
    assert isinstance(blue, EmbeddedImage)
    assert red.embedding[0] > 0
    assert blue.embedding[2] > 0
    assert isinstance(green, EncoderError)
    assert green.item == "bad.png"
    assert encoder.batch_sizes == [3, 1, 1, 1]


async def test_a_vector_that_is_not_of_unit_length_is_never_stored() -> None:
    with _pipeline(_EncoderOfZeros("eye")) as pipeline:
        (result,) = await pipeline.embed([_image(plain_png(RED))])
    assert isinstance(result, EncoderError)
    assert result.detail == "the encoder gave no unit vector for this image"


async def test_an_image_in_which_no_extractor_finds_anything_is_refused_with_that_reason() -> None:
    with _pipeline(_EncoderOfZeros()) as pipeline:
        (result,) = await pipeline.embed([_image(plain_png(RED))])
    assert isinstance(result, EncoderError)
    assert "no extractor of the bundle finds anything" in result.detail


async def test_the_pixels_of_two_batches_at_most_are_held_whatever_is_asked() -> None:
    registry = CollectorRegistry()
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()

    def decoded() -> float | None:
        return registry.get_sample_value("aff_index_stage_duration_seconds_count", {"stage": "decode"})

    with _pipeline(encoder, registry) as pipeline:
        batches = [asyncio.create_task(pipeline.embed([_image(plain_png((value, 0, 0)))])) for value in range(5)]
        for _ in range(1000):
            if decoded() == 2:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # time enough for a third, were it allowed
        assert decoded() == 2
        encoder.gate.set()
        await asyncio.gather(*batches)
    assert decoded() == 5
