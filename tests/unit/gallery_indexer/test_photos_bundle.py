"""The default bundle on blank, tiny and altered photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.schemas.preprocessing import preprocess
from aff_toolkit.evaluation.protocols import scenes_protocol
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle

pytestmark = needs_photos_bundle

Image = NDArray[np.uint8]
BLACK = np.zeros((240, 320, 3), np.uint8)
TINY = np.full((8, 8, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def manifest() -> BundleManifest:
    return load_manifest(PHOTOS_BUNDLE)


@pytest.fixture(scope="module")
def gallery(manifest: BundleManifest) -> GalleryEncoder:
    return GalleryEncoder.load(PHOTOS_BUNDLE, manifest, device="cpu")


@pytest.fixture(scope="module")
def photographs() -> list[Image]:
    scenes = scenes_protocol(instances=4, queries_each=1, gallery_each=1, distractors=0, difficulty=0.3)
    return [photograph.load() for photograph in scenes.gallery]


def queries(manifest: BundleManifest, images: list[Image]) -> NDArray[np.float32]:
    encoder = OnnxQueryEncoder.load(PHOTOS_BUNDLE, manifest, threads=1)
    return encoder.encode([preprocess(image, manifest.query_encoder.preprocessing) for image in images])


def test_an_image_in_which_nothing_is_found_is_masked_and_has_an_embedding(gallery: GalleryEncoder) -> None:
    (encoded,) = gallery.encode_images([[preprocess(BLACK, one) for one in gallery.preprocessings]])
    assert "xfeat_vlad" not in encoded.extractors
    assert {"lite0", "lite2"} <= set(encoded.extractors)
    assert np.isfinite(encoded.embedding).all()


def test_the_smallest_photograph_has_an_embedding(gallery: GalleryEncoder, manifest: BundleManifest) -> None:
    assert np.isfinite(gallery.encode([TINY])).all()
    assert np.isfinite(queries(manifest, [TINY])).all()


@pytest.mark.slow
def test_a_blank_image_is_never_the_first_hit(
    gallery: GalleryEncoder, manifest: BundleManifest, photographs: list[Image]
) -> None:
    colours = [(255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 0, 255)]
    blanks = [BLACK, *(np.full_like(BLACK, colour) for colour in colours), *_patterns()]
    darker = [(image * 0.5).astype(np.uint8) for image in photographs]
    for searched in (photographs, darker):
        found = queries(manifest, searched) @ gallery.encode([*photographs, *blanks]).T
        matches = found.diagonal()
        assert (found[:, len(photographs) :].max(axis=1) < matches).all()


def _patterns() -> list[Image]:
    """Return images with key points but without an object: a board of squares, and noise."""
    board = (np.indices(BLACK.shape[:2]) // 8).sum(axis=0) % 2 * 255
    noise = np.random.default_rng(0).integers(0, 256, BLACK.shape, dtype=np.uint8)
    return [np.repeat(board[:, :, np.newaxis], 3, axis=2).astype(np.uint8), noise]


def test_the_committed_files_stay_small() -> None:
    sizes = [path.stat().st_size for path in Path(PHOTOS_BUNDLE).rglob("*") if path.is_file()]
    assert sum(sizes) <= 40e6
    assert (PHOTOS_BUNDLE / "query_encoder.onnx").stat().st_size <= 20e6


def test_a_cropped_and_darker_version_finds_its_photograph(
    gallery: GalleryEncoder, manifest: BundleManifest, photographs: list[Image]
) -> None:
    changed = [(image[20:-20, 30:-10] * 0.7).astype(np.uint8) for image in photographs]
    found = queries(manifest, changed) @ gallery.encode(photographs).T
    assert found.argmax(axis=1).tolist() == list(range(len(photographs)))
