"""The centres of VLAD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import ImageError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scenes import render_view
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.fit_vlad import fit_codebook, fit_pca_whitening, fit_vlad
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.rootsift import detect_keypoints, rootsift_vlad_spec, sift_detector


def test_k_means_finds_the_middle_of_well_separated_clouds() -> None:
    middles = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    offsets = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    points = (middles[:, None] + offsets).reshape(-1, 2).astype(np.float32)
    found = fit_codebook(points, 3, np.random.default_rng(0))
    assert sorted(map(tuple, found.round(4).tolist())) == [(0.0, 0.0), (0.0, 10.0), (10.0, 0.0)]


def test_whitened_training_vectors_have_unit_covariance() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 50)) * np.geomspace(1, 0.01, 50)
    whitening = fit_pca_whitening(vectors.astype(np.float32), 4)
    whitened = (vectors - whitening.mean) @ whitening.projection.T
    for one in range(4):
        for other in range(4):
            covariance = sum(row[one] * row[other] for row in whitened) / 29
            assert covariance == pytest.approx(float(one == other), abs=1e-4)


def test_the_first_component_is_the_direction_of_largest_variance() -> None:
    direction = np.array([3.0, 4.0, 0.0]) / 5.0
    along = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None] * direction
    noise = np.array([[0, 0, 0.1], [0, 0, -0.1], [0, 0, 0.0], [0, 0, -0.1], [0, 0, 0.1]])
    first = fit_pca_whitening((along + noise).astype(np.float32), 1).projection[0]
    np.testing.assert_allclose(np.abs(first / np.linalg.norm(first)), direction, atol=1e-5)


def unreadable() -> Any:
    raise ImageError("not a photograph")


PHOTOGRAPHS = [Photograph(str(number), str(number), lambda n=number: render_view(n, 0)) for number in range(8)]
GREY = np.full((64, 64, 3), 128, dtype=np.uint8)
USELESS = [Photograph("broken", "broken", unreadable), Photograph("grey", "grey", lambda: GREY)]


def described(dimension: int | None = None, clusters: int = 4) -> ExtractorSpec:
    return rootsift_vlad_spec(size=96, max_tokens=8, clusters=clusters, dimension=dimension, weights_source="a test")


def fit_rootsift_vlad(spec: ExtractorSpec, photographs: list[Photograph], weights: Path, *, seed: int) -> None:
    """Fit VLAD over RootSIFT keypoints on photographs, and save it."""
    sift = sift_detector(spec.config["max_descriptors"])
    encoder = fit_vlad(spec, lambda pixels: detect_keypoints(sift, pixels).descriptors, photographs, seed=seed)
    weights.parent.mkdir(parents=True, exist_ok=True)
    encoder.save(weights)


@pytest.mark.parametrize(("dimension", "width"), [(None, 512), (5, 5)])
def test_a_fitted_extractor_loads_and_describes(tmp_path: Path, dimension: int | None, width: int) -> None:
    spec = described(dimension)
    fit_rootsift_vlad(spec, [*USELESS, *PHOTOGRAPHS], tmp_path / str(spec.weights), seed=1)
    batch = load_extractor(spec, tmp_path, torch.device("cpu")).extract([PHOTOGRAPHS[0].load()])["rootsift_vlad"]
    assert batch.values.shape == (1, 1, width)
    torch.testing.assert_close(batch.values.norm(dim=2), torch.ones(1, 1))


def test_equal_seeds_return_equal_weights_and_others_others(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "same", "other")]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        fit_rootsift_vlad(described(5), PHOTOGRAPHS, file, seed=seed)
    one, same, other = (file.read_bytes() for file in files)
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("photographs", "spec"),
    [(USELESS, described()), (PHOTOGRAPHS, described(clusters=5000)), (PHOTOGRAPHS, described(8))],
    ids=["no keypoints", "centres", "dimensions"],
)
def test_too_few_photographs_are_reported(tmp_path: Path, photographs: list[Photograph], spec: ExtractorSpec) -> None:
    with pytest.raises(TooFewPhotographsError, match="more photographs"):
        fit_rootsift_vlad(spec, photographs, tmp_path / "weights", seed=0)
    assert not (tmp_path / "weights").exists()
