"""Whitening of vectors that are fewer than their channels."""

from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.models.extractors.fit_pca_whitening import fit_pca_whitening


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
