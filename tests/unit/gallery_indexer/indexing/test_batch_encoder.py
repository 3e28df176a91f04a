from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput
from gallery_indexer.indexing.batches import BatchEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics
from tests.support.fake_gallery_encoder import FakeGalleryEncoder

POISON = (13, 13, 13)


def _images(count: int, *, poisoned: int | None = None) -> list[EncoderInput]:
    images = [np.full((2, 2, 3), (place + 100, 0, 0), dtype=np.uint8) for place in range(count)]
    if poisoned is not None:
        images[poisoned][:] = POISON
    return [(image,) for image in images]


def _red(encoded: EncodedImage | None) -> float:
    return -1.0 if encoded is None else float(encoded.embedding[0])


@pytest.mark.parametrize("poisoned", range(8))
def test_an_image_that_makes_the_encoder_raise_is_found_by_halving(poisoned: int) -> None:
    encoder = FakeGalleryEncoder(poison=POISON)
    encoded = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=8).encode(
        _images(8, poisoned=poisoned)
    )
    assert [place for place, one in enumerate(encoded) if one is None] == [poisoned]
    good = [_red(one) for place, one in enumerate(encoded) if place != poisoned]
    assert good == sorted(good)  # each image is redder than the one before it: the order is kept
    assert sorted(encoder.batch_sizes) == [1, 1, 2, 2, 4, 4, 8]


def test_a_batch_that_does_not_fit_is_halved_and_no_image_is_lost() -> None:
    registry, encoder = CollectorRegistry(), FakeGalleryEncoder(fits=3)
    batches = BatchEncoder(encoder, IndexMetrics(registry), batch_size=16)
    reds = [_red(one) for one in batches.encode(_images(16))]
    assert reds == sorted(reds)
    assert -1.0 not in reds
    assert batches.size == 2
    assert encoder.batch_sizes == [2] * 8
    assert registry.get_sample_value("aff_index_out_of_memory_total") == 3  # of 16, of 8, of 4


def test_later_batches_have_the_size_that_fitted_until_many_succeeded() -> None:
    encoder = FakeGalleryEncoder(fits=4)
    batches = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=8)
    batches.encode(_images(8))
    assert batches.size == 4
    encoder.batch_sizes.clear()
    batches.encode(_images(8))
    assert encoder.batch_sizes == [4, 4]
    encoder.fits = None
    for _ in range(64):
        batches.encode(_images(1))
    assert batches.size == 8


def test_an_image_that_does_not_fit_even_alone_fails() -> None:
    batches = BatchEncoder(FakeGalleryEncoder(fits=0), IndexMetrics(CollectorRegistry()), batch_size=4)
    assert batches.encode(_images(3)) == [None, None, None]
    assert batches.size == 1
