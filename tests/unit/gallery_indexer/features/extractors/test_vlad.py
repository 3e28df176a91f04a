"""VLAD against its definition, one descriptor at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gallery_indexer.features.extractors.vlad import (
    PcaWhitening,
    VladEncoder,
    VladNormalisation,
    nearest_centres,
    vlad,
)

CODEBOOK = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
DESCRIPTORS = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


def squared_distance(one: np.ndarray, other: np.ndarray) -> float:
    return sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True))


def vlad_by_hand(descriptors: np.ndarray, codebook: np.ndarray, normalisation: VladNormalisation) -> list[float]:
    residuals = [[0.0] * codebook.shape[1] for _ in codebook]
    for descriptor in descriptors:
        distances = [squared_distance(descriptor, centre) for centre in codebook]
        nearest = distances.index(min(distances))
        for channel, value in enumerate(descriptor):
            residuals[nearest][channel] += float(value) - float(codebook[nearest][channel])
    if normalisation == "signed_sqrt":
        residuals = [[math.copysign(math.sqrt(abs(value)), value) for value in row] for row in residuals]
    else:
        lengths = [math.sqrt(sum(value**2 for value in row)) for row in residuals]
        residuals = [
            [value / length if length else 0.0 for value in row] for row, length in zip(residuals, lengths, strict=True)
        ]
    flat = [value for row in residuals for value in row]
    length = math.sqrt(sum(value**2 for value in flat))
    return [value / length for value in flat]


@pytest.mark.parametrize("normalisation", ["signed_sqrt", "intra"])
def test_vlad_is_the_normalised_sum_of_residuals(normalisation: VladNormalisation) -> None:
    found = vlad(DESCRIPTORS, CODEBOOK, normalisation)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vlad_by_hand(DESCRIPTORS, CODEBOOK, normalisation), atol=1e-5)


@pytest.mark.parametrize("normalisation", ["signed_sqrt", "intra"])
def test_a_centre_without_a_descriptor_leaves_zeros(normalisation: VladNormalisation) -> None:
    far = np.vstack([CODEBOOK, np.full((1, 3), 100.0, dtype=np.float32)])
    found = vlad(DESCRIPTORS, far, normalisation)
    np.testing.assert_array_equal(found[15:], 0.0)
    np.testing.assert_allclose(found[:15], vlad_by_hand(DESCRIPTORS, CODEBOOK, normalisation), atol=1e-5)


@pytest.mark.parametrize("normalisation", ["signed_sqrt", "intra"])
def test_without_descriptors_the_vector_is_zero(normalisation: VladNormalisation) -> None:
    np.testing.assert_array_equal(vlad(DESCRIPTORS[:0], CODEBOOK, normalisation), np.zeros(15))


def test_with_intra_normalisation_every_centre_with_descriptors_has_the_same_weight() -> None:
    burst = np.vstack([DESCRIPTORS, np.repeat(DESCRIPTORS[:1], 500, axis=0)])
    rows = vlad(burst, CODEBOOK, "intra").reshape(5, 3)
    lengths = [math.sqrt(float((row**2).sum())) for row in rows]
    assert lengths == pytest.approx([0.5] * 4 + [0.0], rel=1e-4)  # nothing is nearest to the last one


def test_the_nearest_centre_is_the_one_at_the_smallest_distance() -> None:
    expected = []
    for descriptor in DESCRIPTORS:
        distances = [squared_distance(descriptor, centre) for centre in CODEBOOK]
        expected.append(distances.index(min(distances)))
    assert nearest_centres(DESCRIPTORS, CODEBOOK).tolist() == expected


random = np.random.default_rng(0)
CENTRES = random.normal(size=(4, 3)).astype(np.float32)
SUMMED = random.normal(size=(20, 3)).astype(np.float32)
WHITENING = PcaWhitening(
    mean=random.normal(size=12).astype(np.float32), projection=random.normal(size=(5, 12)).astype(np.float32)
)


def test_without_whitening_the_encoder_returns_the_vlad() -> None:
    encoder = VladEncoder(CENTRES, "intra")
    assert encoder.dimension == 12
    np.testing.assert_array_equal(encoder.encode(SUMMED), vlad(SUMMED, CENTRES, "intra"))


def test_whitening_centres_projects_and_normalises() -> None:
    encoder = VladEncoder(CENTRES, "signed_sqrt", WHITENING)
    whole = vlad(SUMMED, CENTRES, "signed_sqrt")
    projected = [
        sum(float(w) * (float(v) - float(m)) for w, v, m in zip(row, whole, WHITENING.mean, strict=True))
        for row in WHITENING.projection
    ]
    length = math.sqrt(sum(value**2 for value in projected))
    assert encoder.dimension == 5
    np.testing.assert_allclose(encoder.encode(SUMMED), [value / length for value in projected], atol=1e-5)


def test_a_zero_vector_is_not_whitened() -> None:
    np.testing.assert_array_equal(VladEncoder(CENTRES, "intra", WHITENING).encode(SUMMED[:0]), np.zeros(5))


@pytest.mark.parametrize("whitening", [None, WHITENING])
def test_the_fitted_parts_survive_a_file(whitening: PcaWhitening | None, tmp_path: Path) -> None:
    encoder = VladEncoder(CENTRES, "intra", whitening)
    encoder.save(tmp_path / "vlad.safetensors")
    loaded = VladEncoder.load(tmp_path / "vlad.safetensors", "intra")
    np.testing.assert_array_equal(loaded.encode(SUMMED), encoder.encode(SUMMED))


@pytest.mark.parametrize(
    "whitening",
    [PcaWhitening(WHITENING.mean[1:], WHITENING.projection), PcaWhitening(WHITENING.mean, WHITENING.projection[:, 1:])],
    ids=["mean", "projection"],
)
def test_a_whitening_of_another_codebook_is_rejected(whitening: PcaWhitening) -> None:
    with pytest.raises(ValueError, match="12 channels"):
        VladEncoder(CENTRES, "intra", whitening)
