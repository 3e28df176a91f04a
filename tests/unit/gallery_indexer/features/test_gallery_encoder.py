from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import load_manifest
from gallery_indexer.collections.collection_runtime import ENCODER_LOADERS
from gallery_indexer.features.extractors.landmark_extractor import LandmarkExtractor
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import BatchTooLargeError, EncoderInput, Pixels
from gallery_indexer.features.networks.onnx_network import OnnxNetwork
from gallery_indexer.indexing.photograph_preparation import prepare_photograph
from gallery_indexer.settings import IndexerSettings
from tests.support.photos_bundle import PHOTOS_BUNDLE
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


def test_an_indexer_runs_extractors_in_onnx_runtime_where_that_is_faster() -> None:
    photos = (PHOTOS_BUNDLE, load_manifest(PHOTOS_BUNDLE))
    encoder = GalleryEncoder.load_with_onnx_runtime(*photos, device="cpu")
    assert _engines(encoder) == {"lite0": OnnxNetwork, "lite2": OnnxNetwork, "xfeat_vlad": OnnxNetwork}
    assert OnnxNetwork not in _engines(GalleryEncoder.load(*photos, device="cpu")).values()


def _engines(encoder: GalleryEncoder) -> dict[str, type]:
    extractors = [one for one in encoder._extractors if isinstance(one, LandmarkExtractor)]
    return {one.spec.name: type(one._network) for one in extractors}


def test_every_engine_of_the_settings_has_a_loader() -> None:
    field = IndexerSettings.model_fields["extractor_engine"]
    assert set(ENCODER_LOADERS) == set(get_args(field.annotation))
    assert ENCODER_LOADERS[field.default] == GalleryEncoder.load_with_onnx_runtime
