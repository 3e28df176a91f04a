"""Rankings of other programs: forms, checks, and ranks of the labelled images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_toolkit.data.photograph import Photograph, load_photograph_file
from aff_toolkit.errors import RankingsError
from aff_toolkit.evaluation.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.evaluation_report import score_setup
from aff_toolkit.evaluation.given_rankings import read_given_rankings
from aff_toolkit.evaluation.relevance import Ragged

ROWS = [[3, 0, 1, 2], [2, 1]]


def photographs(names: str) -> list[Photograph]:
    return [Photograph(name, name, lambda: load_photograph_file(Path("none"))) for name in names]


@pytest.fixture
def benchmark() -> Benchmark:
    """Queries p and q, gallery a to d; the positives of p are a and b, with d as junk, and those of q are a and c."""
    relevant = Ragged.of([np.array([0, 1]), np.array([0, 2])])
    ignored = Ragged.of([np.array([3]), np.array([], np.int64)])
    judged = Judgements("all", relevant, ignored, np.ones(2, np.bool_))
    return Benchmark("own", "own", "mean_precision", photographs("pq"), photographs("abcd"), (judged,))


def written(path: Path, value: Any) -> Path:
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:
            np.save(file, np.asarray(value))
    else:
        path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rankings.npy", np.array([[3, 0, 1, 2], [2, 1, -1, -1]], np.int32)),
        ("RANKINGS.NPY", np.array([[3, 0, 1, 2], [2, 1, -1, -1]])),
        ("rankings.json", ROWS),
        ("rankings.json", ["dabc", "cb"]),
        ("rankings.json", {"q": ["c", "b"], "unused": ["a"], "p": ["d", "a", "b", "c"]}),
    ],
)
def test_a_ranking_has_the_same_scores_in_every_form(
    benchmark: Benchmark, tmp_path: Path, name: str, value: Any
) -> None:
    value = [list(one) for one in value] if isinstance(value, list) else value
    rankings = read_given_rankings(written(tmp_path / name, value), benchmark, 1000)
    assert rankings.rows.tolist() == [[3, 0, 1, 2], [2, 1, -1, -1]]
    assert [ranks.tolist() for ranks in rankings.ranks] == [[1, 2, 0], [-1, 0]]
    scores = score_setup(rankings, benchmark.judgements[0], benchmark.rule)
    # p finds both once d is removed; q finds the first of its two.
    assert scores.average_precisions == (1.0, 0.5)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("r.npy", np.zeros((4, 2), int), "has 4 rows for 2 queries; the columns are the queries: transpose it"),
        ("r.npy", np.zeros((3, 3), int), "has 3 rows for 2 queries"),
        ("r.npy", np.zeros(2, int), "is int64 (2,), not integers (queries, ranks)"),
        ("r.npy", np.zeros((2, 2)), "is float64 (2, 2)"),
        ("r.npy", [[0, 1], [1, 4]], "query 'q': row 4, and the gallery has the rows 0 to 3"),
        ("r.npy", [[0, -1, 1], [0, 1, 2]], "query 'p': row -1"),
        ("r.npy", np.full((2, 1), 2**64 - 1, np.uint64), "query 'p': row 18446744073709551615"),
        ("r.npy", [[0, 1], [2, 2]], "query 'q': row 2 is in the ranking twice"),
        ("r.json", [[0], [1], [2]], "has 3 rankings for 2 queries"),
        ("r.json", {"p": [0]}, "has no ranking of the query 'q'"),
        ("r.json", [["a"], ["e"]], "contains 'e', which is not in the gallery"),
        ("r.json", [[0.5], [1]], "is neither a list of rankings nor an object"),
        ("r.json", [[10**30], [1]], "contains a number of more than 64 bits"),
        ("r.txt", [[0], [1]], "is neither .npy nor .json"),
        ("r.json", "text", "is neither a list of rankings nor an object"),
    ],
)
def test_unusable_rankings_are_reported(
    benchmark: Benchmark, tmp_path: Path, name: str, value: Any, words: str
) -> None:
    path = written(tmp_path / name, value)
    with pytest.raises(RankingsError) as caught:
        read_given_rankings(path, benchmark, 1000)
    assert words in caught.value.detail
    assert caught.value.item == str(path)


@pytest.mark.parametrize("name", ["missing.npy", "missing.json"])
def test_a_missing_file_is_reported(benchmark: Benchmark, tmp_path: Path, name: str) -> None:
    with pytest.raises(RankingsError, match="cannot be read"):
        read_given_rankings(tmp_path / name, benchmark, 1000)


def test_only_the_depth_is_kept_and_ranks_are_of_the_whole_ranking(benchmark: Benchmark, tmp_path: Path) -> None:
    rankings = read_given_rankings(written(tmp_path / "r.json", ROWS), benchmark, 1)
    assert rankings.rows.tolist() == [[3], [2]]
    assert [ranks.tolist() for ranks in rankings.ranks] == [[1, 2, 0], [-1, 0]]


def test_a_name_of_several_rows_is_rejected(benchmark: Benchmark, tmp_path: Path) -> None:
    benchmark = replace(benchmark, gallery=photographs("abca"))
    with pytest.raises(RankingsError, match="contains 'a', which several rows of the gallery have: use rows"):
        read_given_rankings(written(tmp_path / "r.json", [["b"], ["a"]]), benchmark, 1000)
    usable = written(tmp_path / "r.json", [["b"], ["c"]])
    assert read_given_rankings(usable, benchmark, 1000).rows.tolist() == [
        [1],
        [2],
    ]
