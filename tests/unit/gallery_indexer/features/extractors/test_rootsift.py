from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import BundleFormatError, BundleNotFoundError
from gallery_indexer.features.extractors.extractor import Extractor
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.rootsift import RootSift, rootsift, rootsift_spec, rootsift_vlad_spec
from gallery_indexer.features.extractors.vlad import PcaWhitening, VladEncoder, vlad


@pytest.fixture
def textured() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)


def test_rootsift_takes_the_root_of_the_l1_share() -> None:
    descriptors = np.array([[1.0, 4.0, 4.0, 0.0]], dtype=np.float32)
    expected = [[(1 / 9) ** 0.5, (4 / 9) ** 0.5, (4 / 9) ** 0.5, 0.0]]
    np.testing.assert_allclose(rootsift(descriptors), expected, rtol=1e-6)


def test_tokens_are_unit_descriptors_with_positions_inside_the_image(textured: np.ndarray) -> None:
    batch = RootSift(rootsift_spec(size=160, max_tokens=16)).extract([textured])["rootsift"]
    assert batch.values.shape == (1, 16, 130)
    assert batch.mask.all()
    descriptors, positions = batch.values[0, :, :128], batch.values[0, :, 128:]
    np.testing.assert_allclose(descriptors.norm(dim=1), 1.0, rtol=1e-5)
    assert positions.abs().max() <= 1.0


def test_the_strongest_keypoints_are_kept(textured: np.ndarray) -> None:
    grey = cv2.cvtColor(textured, cv2.COLOR_RGB2GRAY)
    keypoints = cv2.SIFT_create().detect(grey, None)
    strongest = max(keypoints, key=lambda keypoint: keypoint.response)
    batch = RootSift(rootsift_spec(size=320, max_tokens=4)).extract([textured])["rootsift"]
    x, y = 2 * strongest.pt[0] / 320 - 1, 2 * strongest.pt[1] / 240 - 1
    np.testing.assert_allclose(batch.values[0, 0, 128:], [x, y], atol=1e-5)


def test_positions_are_shares_of_the_width_and_height(textured: np.ndarray) -> None:
    grey = cv2.cvtColor(textured, cv2.COLOR_RGB2GRAY)
    strongest = max(cv2.SIFT_create().detect(grey, None), key=lambda keypoint: keypoint.response)
    batch = RootSift(rootsift_spec(size=320, max_tokens=4)).extract([textured])["rootsift"]
    assert batch.positions is not None
    assert batch.positions.shape == (1, 4, 2)
    np.testing.assert_allclose(batch.positions[0, 0], [strongest.pt[0] / 320, strongest.pt[1] / 240], atol=1e-5)


def test_a_blank_image_has_no_tokens(textured: np.ndarray) -> None:
    blank = np.full((100, 100, 3), 128, dtype=np.uint8)
    batch = RootSift(rootsift_spec(size=160, max_tokens=8)).extract([blank, textured])["rootsift"]
    assert not batch.mask[0].any()
    assert not batch.values[0].any()
    assert batch.positions is not None
    assert not batch.positions[0].any()
    assert batch.mask[1].all()


random = np.random.default_rng(0)
CODEBOOK = rootsift(random.random((4, 128)).astype(np.float32))
WHITENING = PcaWhitening(
    mean=(random.normal(size=512) * 0.01).astype(np.float32), projection=random.normal(size=(6, 512)).astype(np.float32)
)
GREY = np.full((100, 100, 3), 128, dtype=np.uint8)


def described(**changes: Any) -> ExtractorSpec:
    settings = {"size": 160, "max_tokens": 8, "clusters": 4, "dimension": None, "weights_source": "a test"}
    return rootsift_vlad_spec(**{**settings, **changes})


def loaded(directory: Path, spec: ExtractorSpec, whitening: PcaWhitening | None = None) -> Extractor:
    (directory / "extractors").mkdir()
    VladEncoder(CODEBOOK, "intra", whitening).save(directory / str(spec.weights))
    return load_extractor(spec, directory, torch.device("cpu"))


def test_the_tokens_are_those_of_rootsift(tmp_path: Path, textured: np.ndarray) -> None:
    tokens = loaded(tmp_path, described()).extract([textured, GREY])["rootsift"]
    alone = RootSift(rootsift_spec(size=160, max_tokens=8)).extract([textured, GREY])["rootsift"]
    torch.testing.assert_close(tokens.mask, alone.mask)
    torch.testing.assert_close(tokens.strengths, alone.strengths)
    # OpenCV returns keypoints of one position and two orientations, which are equally strong, in undefined order.
    assert sorted(tokens.values[0].tolist()) == sorted(alone.values[0].tolist())


def test_the_vlad_has_more_descriptors_than_there_are_tokens(tmp_path: Path, textured: np.ndarray) -> None:
    spec = described(size=320)
    batch = loaded(tmp_path, spec).extract([textured])["rootsift_vlad"]
    grey = cv2.cvtColor(textured, cv2.COLOR_RGB2GRAY)
    _, descriptors = cv2.SIFT_create().detectAndCompute(grey, None)
    assert len(descriptors) > 8
    np.testing.assert_allclose(batch.values[0, 0], vlad(rootsift(descriptors), CODEBOOK, "intra"), atol=1e-5)
    assert batch.mask.tolist() == [[True]]


def test_no_more_descriptors_than_the_setting_are_summed_up(tmp_path: Path, textured: np.ndarray) -> None:
    spec = described(size=320, max_descriptors=5)
    found = loaded(tmp_path, spec).extract([textured])["rootsift_vlad"].values[0, 0]
    grey = cv2.cvtColor(textured, cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = cv2.SIFT_create().detectAndCompute(grey, None)
    strongest = sorted(range(len(keypoints)), key=lambda place: -keypoints[place].response)[:5]
    np.testing.assert_allclose(found, vlad(rootsift(descriptors[strongest]), CODEBOOK, "intra"), atol=1e-5)


def test_the_whitened_global_has_its_width_and_unit_length(tmp_path: Path, textured: np.ndarray) -> None:
    batch = loaded(tmp_path, described(dimension=6), WHITENING).extract([textured, textured[::-1]])["rootsift_vlad"]
    assert batch.values.shape == (2, 1, 6)
    torch.testing.assert_close(batch.values.norm(dim=2), torch.ones(2, 1))


@pytest.mark.parametrize("dimension", [None, 6])
def test_an_image_without_keypoints_has_neither_tokens_nor_a_global(
    tmp_path: Path, textured: np.ndarray, dimension: int | None
) -> None:
    extractor = loaded(tmp_path, described(dimension=dimension), WHITENING if dimension else None)
    batches = extractor.extract([GREY, textured])
    for batch in batches.values():
        assert not batch.mask[0].any()
        assert not batch.values[0].any()
        assert batch.mask[1].any()


def test_the_tokens_are_optional(tmp_path: Path, textured: np.ndarray) -> None:
    assert list(loaded(tmp_path, described(max_tokens=None)).extract([textured])) == ["rootsift_vlad"]


@pytest.mark.parametrize("changes", [{"clusters": 8}, {"dimension": 6}])
def test_weights_of_another_size_are_rejected(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(BundleFormatError, match="do not match"):
        loaded(tmp_path, described(**changes))


def test_the_error_of_missing_weights_has_their_origin(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="its origin: a test"):
        load_extractor(described(), tmp_path, torch.device("cpu"))


def test_a_file_that_is_not_safetensors_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "extractors").mkdir()
    (tmp_path / str(described().weights)).write_bytes(b"not weights")
    with pytest.raises(BundleFormatError, match="do not match"):
        load_extractor(described(), tmp_path, torch.device("cpu"))
