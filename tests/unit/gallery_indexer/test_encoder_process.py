from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from aff_contracts.bundle import load_manifest
from aff_contracts.errors import BundleNotFoundError, EncoderError
from aff_contracts.preprocessing import Preprocessing
from gallery_indexer.encoder_process import EncoderProcess
from gallery_indexer.gallery_encoder import GalleryEncoder
from gallery_indexer.image_encoder import BatchTooLargeError, EncodedImage, PreparedImage
from gallery_indexer.photograph_preparation import prepare_photograph
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.tiny_bundle import TINY_BUNDLE

SMALL = Preprocessing(resize="stretch", size=16)
DEADLY = (9, 9, 9)


class _DyingEncoder(FakeGalleryEncoder):
    def encode_images(self, images: Sequence[PreparedImage], *, with_features: bool = False) -> list[EncodedImage]:
        if any(tuple(pixels[0, 0]) == DEADLY for (pixels,) in images):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_images(images, with_features=with_features)


def _plain(encoder: EncoderProcess, slot: int, colour: tuple[int, int, int]) -> PreparedImage:
    pixels = np.full((16, 16, 3), colour, dtype=np.uint8)
    return encoder.arena.image(encoder.arena.store(slot, (pixels,)))


@pytest.fixture(scope="module")
def fake() -> Iterator[EncoderProcess]:
    load = partial(_DyingEncoder, poison=(1, 2, 3), fits=2)
    with closing(EncoderProcess(load, [SMALL], 4)) as encoder:
        yield encoder


def test_the_embeddings_are_those_of_the_same_encoder_in_this_process() -> None:
    manifest = load_manifest(TINY_BUNDLE)
    load = partial(GalleryEncoder.load, TINY_BUNDLE, manifest, device="cpu")
    here, rng = load(), np.random.default_rng(0)
    photographs = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((300, 401), (90, 640))]
    prepared = [prepare_photograph(photograph, here.preprocessings) for photograph in photographs]
    with closing(EncoderProcess(load, here.preprocessings, 2)) as there:
        shared = [there.arena.image(there.arena.store(slot, image)) for slot, image in enumerate(prepared)]
        encoded = there.encode_images(shared, with_features=True)
        fused = there.fuse([one.features for one in encoded if one.features is not None])
    expected = here.encode_images(prepared)
    for one, other in zip(encoded, expected, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
        assert one.extractors == other.extractors
    np.testing.assert_allclose(fused, [one.embedding for one in expected], atol=1e-3)  # kept as float16


def test_an_error_comes_back_as_it_was_raised(fake: EncoderProcess) -> None:
    with pytest.raises(BatchTooLargeError, match="out of memory"):
        fake.encode_images([_plain(fake, slot, (slot, 0, 0)) for slot in range(3)])
    with pytest.raises(RuntimeError, match="poisoned"):
        fake.encode_images([_plain(fake, 0, (1, 2, 3))])
    (encoded,) = fake.encode_images([_plain(fake, 0, (255, 0, 0))])
    np.testing.assert_allclose(encoded.embedding, [0.5**0.5, 0, 0, 0.5**0.5], atol=1e-6)


def test_after_its_death_another_process_takes_its_place(fake: EncoderProcess) -> None:
    with pytest.raises(EncoderError, match="died"):
        fake.encode_images([_plain(fake, 0, DEADLY)])
    (encoded,) = fake.encode_images([_plain(fake, 0, (0, 0, 255))])
    np.testing.assert_allclose(encoded.embedding, [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-6)


def test_a_bundle_that_cannot_be_loaded_is_told_as_such(tmp_path: Path) -> None:
    load = partial(GalleryEncoder.load, tmp_path, load_manifest(TINY_BUNDLE), device="cpu")
    with pytest.raises(BundleNotFoundError):
        EncoderProcess(load, [SMALL], 1)
