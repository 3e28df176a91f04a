from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gallery_indexer.features.extractors.vlad import vlad
from gallery_indexer.features.extractors.vlad_encoder import PcaWhitening, VladEncoder

random = np.random.default_rng(0)
CODEBOOK = random.normal(size=(4, 3)).astype(np.float32)
DESCRIPTORS = random.normal(size=(20, 3)).astype(np.float32)
WHITENING = PcaWhitening(
    mean=random.normal(size=12).astype(np.float32), projection=random.normal(size=(5, 12)).astype(np.float32)
)


def test_without_a_whitening_it_is_the_vlad() -> None:
    encoder = VladEncoder(CODEBOOK, "intra")
    assert encoder.dimension == 12
    np.testing.assert_array_equal(encoder.encode(DESCRIPTORS), vlad(DESCRIPTORS, CODEBOOK, "intra"))


def test_the_whitening_centres_projects_and_brings_to_unit_length() -> None:
    encoder = VladEncoder(CODEBOOK, "signed_sqrt", WHITENING)
    whole = vlad(DESCRIPTORS, CODEBOOK, "signed_sqrt")
    projected = [
        sum(float(w) * (float(v) - float(m)) for w, v, m in zip(row, whole, WHITENING.mean, strict=True))
        for row in WHITENING.projection
    ]
    length = math.sqrt(sum(value**2 for value in projected))
    assert encoder.dimension == 5
    np.testing.assert_allclose(encoder.encode(DESCRIPTORS), [value / length for value in projected], atol=1e-5)


def test_nothing_stays_nothing_after_the_whitening() -> None:
    np.testing.assert_array_equal(VladEncoder(CODEBOOK, "intra", WHITENING).encode(DESCRIPTORS[:0]), np.zeros(5))


@pytest.mark.parametrize("whitening", [None, WHITENING])
def test_the_fitted_parts_survive_a_file(whitening: PcaWhitening | None, tmp_path: Path) -> None:
    encoder = VladEncoder(CODEBOOK, "intra", whitening)
    encoder.save(tmp_path / "vlad.safetensors")
    loaded = VladEncoder.load(tmp_path / "vlad.safetensors", "intra")
    np.testing.assert_array_equal(loaded.encode(DESCRIPTORS), encoder.encode(DESCRIPTORS))


@pytest.mark.parametrize(
    "whitening",
    [PcaWhitening(WHITENING.mean[1:], WHITENING.projection), PcaWhitening(WHITENING.mean, WHITENING.projection[:, 1:])],
    ids=["mean", "projection"],
)
def test_a_whitening_of_another_codebook_is_refused(whitening: PcaWhitening) -> None:
    with pytest.raises(ValueError, match="12 channels"):
        VladEncoder(CODEBOOK, "intra", whitening)
