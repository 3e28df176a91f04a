"""The gates of the export, at their edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_toolkit.errors import ExportMismatchError
from aff_toolkit.export.export_gate import (
    CosineFigures,
    Encode,
    Int8Verdict,
    compare_embeddings,
    judge_int8,
    require_same_embeddings,
)

COSINE = CosineFigures(photographs=2, min_cosine=0.97, mean_cosine=0.98)
# The first pixel of a photograph is its number.
PHOTOGRAPHS = np.zeros((3, 2, 2, 3), np.uint8)
PHOTOGRAPHS[:, 0, 0, 0] = range(3)
BATCHES = [PHOTOGRAPHS[:2], PHOTOGRAPHS[2:]]


def encoder(*embeddings: tuple[float, float]) -> Encode:
    def encode(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.asarray([embeddings[image[0, 0, 0]] for image in images], np.float32)

    return encode


TRAINED = encoder((1, 0), (1, 0), (0, 1))


def judge(map_fp32: float, map_int8: float) -> Int8Verdict:
    return judge_int8("scenes", map_fp32=map_fp32, map_int8=map_int8, cosine=COSINE, max_map_loss_points=0.5)


@pytest.mark.parametrize(("map_of_base", "accepted"), [(0.7, True), (0.71, False), (None, False)])
def test_the_int8_graph_passes_where_it_is_as_good_as_that_of_the_base(
    map_of_base: float | None, accepted: bool
) -> None:
    found = judge_int8(
        "scenes", map_fp32=0.8, map_int8=0.7, cosine=COSINE, max_map_loss_points=0.5, map_of_base=map_of_base
    )
    assert found.accepted == accepted
    assert ("of the base reaches" in found.reason) == (map_of_base is not None)


def test_cosines_are_taken_photograph_by_photograph_over_all_batches() -> None:
    figures = compare_embeddings(TRAINED, encoder((1, 0), (0.6, 0.8), (0.6, 0.8)), BATCHES)
    assert figures.photographs == 3
    assert figures.min_cosine == pytest.approx(0.6)
    assert figures.mean_cosine == pytest.approx((1 + 0.6 + 0.8) / 3)


def test_length_does_not_count() -> None:
    assert compare_embeddings(TRAINED, encoder((3, 0), (1, 0), (0, 0.5)), BATCHES).min_cosine == pytest.approx(1)


def test_the_float32_graph_passes_at_the_bound_and_not_below_it() -> None:
    exported = encoder((1, 0), (0.75, 0.6614378), (0, 1))
    found = compare_embeddings(TRAINED, exported, BATCHES).min_cosine
    assert require_same_embeddings(TRAINED, exported, BATCHES, found).min_cosine == found
    with pytest.raises(ExportMismatchError) as refused:
        require_same_embeddings(TRAINED, exported, BATCHES, np.nextafter(found, 1))
    for words in ("falls to 0.750000", "mean 0.916667", "3 photographs", "at least 0.75", "export.min_cosine"):
        assert words in refused.value.detail


def test_one_embedding_that_is_not_a_number_does_not_pass() -> None:
    with pytest.raises(ExportMismatchError, match="nan"):
        require_same_embeddings(TRAINED, encoder((1, 0), (np.nan, 0), (0, 1)), BATCHES, -1.0)


@pytest.mark.parametrize(
    ("map_fp32", "map_int8", "accepted"),
    [(0.8, 0.8, True), (0.8, 0.795, True), (0.8, 0.79499, False), (0.3, 0.4, True), (0.8, 0.0, False)],
)
def test_int8_may_lose_half_a_point_and_no_more(map_fp32: float, map_int8: float, accepted: bool) -> None:
    verdict = judge(map_fp32, map_int8)
    assert verdict.accepted is accepted
    assert (verdict.map_fp32, verdict.map_int8, verdict.cosine) == (map_fp32, map_int8, COSINE)


@pytest.mark.parametrize(("map_fp32", "map_int8"), [(0.8, np.nan), (np.nan, 0.8)])
def test_a_figure_that_is_not_a_number_is_rejected(map_fp32: float, map_int8: float) -> None:
    assert not judge(map_fp32, map_int8).accepted


def test_a_verdict_states_why_with_the_figures() -> None:
    assert judge(0.8, 0.77).describe() == (
        "without an int8 query encoder: mAP 77.00 against 80.00 of fp32 under scenes, a loss of 3.00 points; at most "
        "0.5 may be lost (export.max_map_loss_points). Cosine to fp32 at least 0.9700, 0.9800 in the mean"
    )
    assert judge(0.8, 0.81).describe().startswith("with an int8 query encoder: mAP 81.00 against 80.00")
    assert "a gain of 1.00 points" in judge(0.8, 0.81).reason
