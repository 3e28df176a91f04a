from __future__ import annotations

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import load_manifest
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import BatchTooLargeError, EncoderInput, Pixels
from gallery_indexer.indexing.photograph_preparation import prepare_photograph
from tests.support.tiny_bundle import TINY_BUNDLE


@pytest.fixture(scope="module")
def encoder() -> GalleryEncoder:
    return GalleryEncoder.load(TINY_BUNDLE, load_manifest(TINY_BUNDLE), device="cpu")


def _photographs(*sizes: tuple[int, int]) -> list[Pixels]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _prepared(encoder: GalleryEncoder, photograph: Pixels) -> EncoderInput:
    return prepare_photograph(photograph, encoder.preprocessings)


def test_prepared_photographs_have_the_same_embeddings_as_the_photographs(encoder: GalleryEncoder) -> None:
    photographs = _photographs((300, 401), (128, 128), (90, 640))
    encoded = encoder.encode_images([_prepared(encoder, photograph) for photograph in photographs])
    np.testing.assert_array_equal([one.embedding for one in encoded], encoder.encode(photographs))


def test_a_photograph_is_prepared_for_each_extractor_at_its_input_size(encoder: GalleryEncoder) -> None:
    (photograph,) = _photographs((300, 400))
    assert [pixels.shape for pixels in _prepared(encoder, photograph)] == [(128, 128, 3), (144, 192, 3)]


def test_a_device_without_enough_memory_raises_batch_too_large(
    encoder: GalleryEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(encoder._extractors[0], "extract", fail)
    with pytest.raises(BatchTooLargeError, match="no memory"):
        encoder.encode_images([_prepared(encoder, *_photographs((64, 64)))])
