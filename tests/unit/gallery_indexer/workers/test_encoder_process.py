from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.errors import BundleNotFoundError, EncoderError, WorkerError
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import BatchTooLargeError, EncodedImage, EncoderInput, EncoderLoader
from gallery_indexer.indexing.batches import BatchEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.photograph_preparation import prepare_photograph
from gallery_indexer.workers.encoder_process import EncoderProcess
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.stopped_encoder import DEADLY, ENDLESS, load_stopped_encoder
from tests.support.tiny_bundle import TINY_BUNDLE


def _process(
    load: EncoderLoader, bundle: Path, manifest: BundleManifest, *, slots: int = 4, timeout_s: float = 60.0
) -> EncoderProcess:
    return EncoderProcess(load, bundle, manifest, device="cpu", slots=slots, timeout_s=timeout_s)


def _plain(encoder: EncoderProcess, slot: int, colour: tuple[int, int, int]) -> EncoderInput:
    pixels = np.full((16, 16, 3), colour, dtype=np.uint8)
    return encoder.buffer.image(encoder.buffer.store(slot, (pixels,)))


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderProcess]:
    bundle = tmp_path_factory.mktemp("bundle")
    with closing(_process(load_stopped_encoder, bundle, write_dummy_bundle(bundle, dimension=4))) as encoder:
        yield encoder


@pytest.mark.slow
def test_the_embeddings_are_those_of_the_same_encoder_in_this_process() -> None:
    manifest = load_manifest(TINY_BUNDLE)
    here, rng = GalleryEncoder.load(TINY_BUNDLE, manifest, device="cpu"), np.random.default_rng(0)
    photographs = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((300, 401), (90, 640))]
    prepared = [prepare_photograph(photograph, here.preprocessings) for photograph in photographs]
    with closing(_process(GalleryEncoder.load, TINY_BUNDLE, manifest)) as there:
        shared = [there.buffer.image(there.buffer.store(slot, image)) for slot, image in enumerate(prepared)]
        encoded = there.encode_images(shared, with_features=True)
        fused = there.fuse([one.features for one in encoded if one.features is not None])
    expected = here.encode_images(prepared, with_features=True)
    for one, other in zip(encoded, expected, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
        assert one.extractors == other.extractors
        _require_same_features(one, other)
    np.testing.assert_allclose(fused, [one.embedding for one in expected], atol=1e-3)  # kept as float16


def _require_same_features(one: EncodedImage, other: EncodedImage) -> None:
    assert one.features is not None
    assert other.features is not None
    assert list(one.features) == list(other.features)
    for name, tokens in other.features.items():
        np.testing.assert_allclose(one.features[name].values, tokens.values, atol=1e-3)
        assert (one.features[name].positions is None) == (tokens.positions is None)
        if tokens.positions is not None:
            np.testing.assert_array_equal(one.features[name].positions, tokens.positions)


def test_errors_of_the_encoder_are_raised_in_the_service(fake: EncoderProcess) -> None:
    with pytest.raises(BatchTooLargeError, match="out of memory"):
        fake.encode_images([_plain(fake, slot, (slot, 0, 0)) for slot in range(3)])
    with pytest.raises(EncoderError, match="RuntimeError: poisoned"):
        fake.encode_images([_plain(fake, 0, (1, 2, 3))])
    (encoded,) = fake.encode_images([_plain(fake, 0, (255, 0, 0))])
    np.testing.assert_allclose(encoded.embedding, [0.5**0.5, 0, 0, 0.5**0.5], atol=1e-6)


@pytest.mark.slow
def test_a_process_that_died_is_replaced(fake: EncoderProcess) -> None:
    with pytest.raises(WorkerError, match="died"):
        fake.encode_images([_plain(fake, 0, DEADLY)])
    (encoded,) = fake.encode_images([_plain(fake, 0, (0, 0, 255))])
    np.testing.assert_allclose(encoded.embedding, [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-6)


def test_an_image_is_not_rejected_if_the_process_was_killed(fake: EncoderProcess) -> None:
    assert fake._worker._process is not None
    os.kill(fake._worker._process.pid, signal.SIGKILL)
    (encoded,) = fake.encode_images([_plain(fake, 0, (0, 255, 0))])
    np.testing.assert_allclose(encoded.embedding, [0, 0.5**0.5, 0, 0.5**0.5], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("colour", [DEADLY, ENDLESS])
def test_an_image_that_stops_the_encoder_is_rejected_alone(colour: tuple[int, int, int], tmp_path: Path) -> None:
    manifest = write_dummy_bundle(tmp_path, dimension=4)
    with closing(_process(load_stopped_encoder, tmp_path, manifest, timeout_s=2.0)) as encoder:
        batches = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=2)
        colours = [(255, 0, 0), colour, (0, 0, 255), (0, 255, 0)]
        encoded = batches.encode([_plain(encoder, slot, one) for slot, one in enumerate(colours)])
    assert [one is None for one in encoded] == [False, True, False, False]


@pytest.mark.slow
def test_a_bundle_that_cannot_be_loaded_raises_its_error(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        _process(GalleryEncoder.load, tmp_path, load_manifest(TINY_BUNDLE))
