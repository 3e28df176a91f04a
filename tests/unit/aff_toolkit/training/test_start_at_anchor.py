"""Where an anchored mixer and the query encoder start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aff_toolkit.training.start_at_anchor import fit_partial_whitening
from aff_toolkit.training.training_errors import TooFewPhotographsError

DEVIATIONS = np.array([4.0, 2.0, 1.0, 0.5])


def vectors(count: int = 4000) -> np.ndarray:
    """Points whose axes have these deviations, around a mean that is not 0."""
    return (np.random.default_rng(3).normal(size=(count, 4)) * DEVIATIONS + 5.0).astype(np.float32)


def mapped(exponent: float, dimension: int = 3) -> np.ndarray:
    points = vectors()
    weight, bias = fit_partial_whitening(points, dimension, exponent)
    return (torch.from_numpy(points) @ weight.T + bias).numpy()


def test_the_strongest_components_are_kept_and_centred() -> None:
    found = mapped(0.0)
    assert found.shape == (4000, 3)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-3)
    shares = found.std(axis=0) / found.std(axis=0)[0]
    np.testing.assert_allclose(shares, DEVIATIONS[:3] / DEVIATIONS[0], rtol=0.05)


def test_whole_whitening_gives_every_component_the_same_say() -> None:
    deviations = mapped(0.5).std(axis=0)
    np.testing.assert_allclose(deviations, deviations[0], rtol=1e-3)


def test_half_of_the_whitening_leaves_the_root_of_the_deviations() -> None:
    deviations = mapped(0.25).std(axis=0)
    np.testing.assert_allclose(deviations / deviations[0], np.sqrt(DEVIATIONS[:3] / DEVIATIONS[0]), rtol=0.05)


def test_components_do_not_hang_together() -> None:
    correlation = np.corrcoef(mapped(0.35).T)
    np.testing.assert_allclose(correlation, np.eye(3), atol=1e-3)


def test_vectors_come_out_about_as_long_as_unit_vectors() -> None:
    assert np.linalg.norm(mapped(0.35), axis=1).mean() == pytest.approx(1.0, abs=1e-4)


def test_as_many_photographs_as_dimensions_are_too_few() -> None:
    with pytest.raises(TooFewPhotographsError, match="3 photographs"):
        fit_partial_whitening(vectors(3), 3, 0.35)
