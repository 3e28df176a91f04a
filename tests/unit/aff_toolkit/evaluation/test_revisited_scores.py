"""Revisited Oxford and Paris: ground truth, and scores against a slow evaluator written out step by step."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aff_toolkit.errors import GroundTruthError
from aff_toolkit.evaluation.revisited import SETUPS, RevisitedGroundTruth, read_revisited
from aff_toolkit.evaluation.revisited_scores import RANKS
from tests.support.revisited_scores import score_revisited

OFFICIAL = Path(__file__).parents[5] / "shared" / "data" / "revisited"
KINDS = {
    "easy": (["easy"], ["junk", "hard"]),
    "medium": (["easy", "hard"], ["junk"]),
    "hard": (["hard"], ["junk", "easy"]),
}


def slow_scores(rankings: list[list[int]], truth: dict[str, Any], setup: str) -> tuple[float, list[float]]:
    """Walk down each ranking image by image, skip what is ignored, and add up trapezoids."""
    averages, precisions = [], []
    for ranking, query in zip(rankings, truth["gnd"], strict=True):
        positive = {row for kind in KINDS[setup][0] for row in query[kind]}
        ignored = {row for kind in KINDS[setup][1] for row in query[kind]}
        if not positive:
            continue
        area, hits, rank, hit_ranks = 0.0, 0, 0, []
        for row in ranking:
            if row in ignored and row not in positive:
                continue
            if row in positive:
                before = 1.0 if rank == 0 else hits / rank
                hits += 1
                area += (before + hits / (rank + 1)) / 2 / len(positive)
                hit_ranks.append(rank + 1)
            rank += 1
        averages.append(area)
        row_precisions = []
        for k in RANKS:
            reduced = min(max(hit_ranks), k)
            row_precisions.append(sum(1 for hit in hit_ranks if hit <= reduced) / reduced)
        precisions.append(row_precisions)
    count = len(averages)
    return sum(averages) / count, [sum(row[i] for row in precisions) / count for i in range(len(RANKS))]


def benchmark(kinds: list[list[str]]) -> dict[str, Any]:
    """Make a ground truth from the kind of each gallery image for each query."""
    gallery = len(kinds[0])
    gnd = [
        {"bbx": [0.0, 0.0, 9.0, 9.0]}
        | {kind: [i for i in range(gallery) if row[i] == kind] for kind in ("easy", "hard", "junk")}
        for row in kinds
    ]
    return {"imlist": [f"g{i}" for i in range(gallery)], "qimlist": [f"q{i}" for i in range(len(kinds))], "gnd": gnd}


@given(
    st.integers(2, 12).flatmap(
        lambda g: st.lists(
            st.tuples(
                st.lists(st.sampled_from(["easy", "hard", "junk", "other"]), min_size=g, max_size=g),
                st.permutations(range(g)),
            ),
            min_size=1,
            max_size=4,
        )
    )
)
def test_scores_equal_the_slow_evaluator_for_any_ranking(queries: list[tuple[list[str], list[int]]]) -> None:
    truth = benchmark([kinds for kinds, _ in queries])
    rankings = [list(ranking) for _, ranking in queries]
    for setup in SETUPS:
        if not any(kind in KINDS[setup][0] for kinds, _ in queries for kind in kinds):
            continue
        found = score_revisited(
            [np.array(ranking) for ranking in rankings], RevisitedGroundTruth.model_validate(truth), setup
        )
        expected_map, expected_precisions = slow_scores(rankings, truth, setup)
        assert found.map == pytest.approx(expected_map, abs=1e-9)
        assert list(found.mean_precisions.values()) == pytest.approx(expected_precisions, abs=1e-9)


def test_a_hand_made_ranking_returns_the_hand_made_area() -> None:
    truth = RevisitedGroundTruth.model_validate(benchmark([["easy", "junk", "other", "hard"]]))
    found = score_revisited([np.array([1, 2, 0, 3])], truth, "medium")
    # Without the junk image: other, easy, hard. Trapezoids (0 + 1/2) / 2 and (1/2 + 2/3) / 2, each over 2 positives.
    assert found.map == pytest.approx(((0 + 1 / 2) / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert found.mean_precisions == pytest.approx({1: 0.0, 5: 2 / 3, 10: 2 / 3})


def test_a_query_without_positives_is_left_out_of_the_mean() -> None:
    truth = RevisitedGroundTruth.model_validate(benchmark([["easy", "other"], ["junk", "hard"]]))
    found = score_revisited([np.array([0, 1]), np.array([0, 1])], truth, "easy")
    assert found.average_precisions == (1.0, None)
    assert found.map == 1.0


def test_no_positive_at_all_is_rejected() -> None:
    truth = RevisitedGroundTruth.model_validate(benchmark([["junk", "other"]]))
    with pytest.raises(ValueError, match="no query has a positive"):
        score_revisited([np.array([0, 1])], truth, "hard")


def test_distractors_are_ranked() -> None:
    truth = RevisitedGroundTruth.model_validate(benchmark([["easy", "other"]]))
    assert score_revisited([np.array([7, 0, 1])], truth, "easy").map == pytest.approx((0 + 1 / 2) / 2)


@pytest.mark.parametrize(("name", "images"), [("roxford5k", 4993), ("rparis6k", 6322)])
def test_the_official_ground_truth_is_read_and_scored(name: str, images: int) -> None:
    path = OFFICIAL / f"gnd_{name}.pkl"
    if not path.exists():
        pytest.skip("the official ground truth is not here")
    truth = read_revisited(path)
    assert (len(truth.imlist), len(truth.qimlist)) == (images, 70)
    rankings = [np.random.default_rng(i).permutation(images) for i in range(70)]
    plain = truth.model_dump()
    for setup in SETUPS:
        found = score_revisited(rankings, truth, setup)
        expected_map, expected_precisions = slow_scores([r.tolist() for r in rankings], plain, setup)
        assert found.map == pytest.approx(expected_map, abs=1e-9)
        assert list(found.mean_precisions.values()) == pytest.approx(expected_precisions, abs=1e-9)


def written(directory: Path, content: Any) -> Path:
    path = directory / "gnd.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_numpy_boxes_and_rows_are_read(tmp_path: Path) -> None:
    content = benchmark([["easy", "junk"]])
    content["gnd"][0] |= {"bbx": np.array([1.5, 2.0, 8.0, 9.0]), "easy": np.array([0])}
    query = read_revisited(written(tmp_path, content)).gnd[0]
    assert query.bbx == (1.5, 2.0, 8.0, 9.0)
    assert query.easy == (0,)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 + 1",)


def test_a_pickle_that_names_code_is_rejected_by_that_name(tmp_path: Path) -> None:
    path = written(tmp_path, {"imlist": Malicious()})
    with pytest.raises(GroundTruthError, match=r"names builtins\.eval") as caught:
        read_revisited(path)
    assert caught.value.item == str(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gnd": []}, "gnd"),
        ({"imlist": None}, "imlist"),
        ({"qimlist": ["a", "b"]}, "2 queries, and ground truth of 1"),
        ({"imlist": ["only"]}, "beyond the 1 gallery images"),
    ],
)
def test_ground_truth_that_contradicts_itself_is_rejected(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(GroundTruthError, match=words):
        read_revisited(written(tmp_path, benchmark([["easy", "junk"]]) | change))


def test_what_is_not_a_pickle_or_missing_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gnd.pkl").write_bytes(b"no pickle")
    with pytest.raises(GroundTruthError, match="is not a pickle"):
        read_revisited(tmp_path / "gnd.pkl")
    with pytest.raises(GroundTruthError, match="cannot be read"):
        read_revisited(tmp_path / "none.pkl")
