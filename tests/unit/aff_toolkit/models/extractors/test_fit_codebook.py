"""The centres of VLAD."""

from __future__ import annotations

import numpy as np

from aff_toolkit.models.extractors.fit_codebook import fit_codebook


def test_k_means_finds_the_middle_of_well_separated_clouds() -> None:
    middles = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    offsets = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    points = (middles[:, None] + offsets).reshape(-1, 2).astype(np.float32)
    found = fit_codebook(points, 3, np.random.default_rng(0))
    assert sorted(map(tuple, found.round(4).tolist())) == [(0.0, 0.0), (0.0, 10.0), (10.0, 0.0)]
