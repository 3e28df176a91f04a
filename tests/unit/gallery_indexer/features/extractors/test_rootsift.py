import cv2
import numpy as np
import pytest

from gallery_indexer.features.extractors.rootsift import RootSift, rootsift, rootsift_spec


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
