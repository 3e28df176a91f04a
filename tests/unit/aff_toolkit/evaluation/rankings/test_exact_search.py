"""Exact search, chunk by chunk, finds what sorting the whole gallery finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aff_shared.errors import ImageError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.rankings import embeddings as embeddings_module
from aff_toolkit.evaluation.rankings.embeddings import Embeddings, embed_photographs
from aff_toolkit.evaluation.rankings.exact_search import search_exactly
from aff_toolkit.evaluation.relevance import Ragged
from aff_toolkit.evaluation.revisited_ground_truth import SETUPS, read_revisited
from aff_toolkit.evaluation.revisited_scores import score_revisited, score_revisited_positions

OFFICIAL = Path(__file__).parents[6] / "shared" / "data" / "revisited"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_module, "_SHARD_PHOTOGRAPHS", 3)


def embedded(vectors: list[list[int] | None], directory: Path) -> Embeddings:
    """Embed photographs of one pixel row whose embedding is that row; None cannot be read."""

    def load(vector: list[int] | None) -> NDArray[np.uint8]:
        if vector is None:
            raise ImageError("broken")
        return np.array(vector, np.uint8)

    photographs = [Photograph(str(i), "x", lambda v=vector: load(v)) for i, vector in enumerate(vectors)]  # type: ignore[misc]
    return embed_photographs(
        photographs, lambda images: np.stack(images).astype(np.float32), 2, directory, "key", lambda _: None
    )


def sorted_gallery(query: list[int], gallery: list[list[int] | None]) -> list[int]:
    """Rows by falling inner product, equal ones by row."""
    known = [(row, vector) for row, vector in enumerate(gallery) if vector is not None]
    products = {row: query[0] * vector[0] + query[1] * vector[1] for row, vector in known}
    return sorted(products, key=lambda row: (-products[row], row))


vectors = st.lists(st.integers(0, 3), min_size=2, max_size=2)


@given(
    st.lists(st.none() | vectors, min_size=1, max_size=5),
    st.lists(st.none() | vectors, min_size=1, max_size=11),
    st.integers(1, 12),
    st.data(),
)
def test_heads_and_ranks_equal_the_full_sort_with_ties_and_unreadable_photographs(
    queries: list[list[int] | None], gallery: list[list[int] | None], depth: int, data: st.DataObject
) -> None:
    rows = st.lists(st.integers(0, len(gallery) - 1), unique=True)
    labelled = [data.draw(rows) for _ in queries]
    with tempfile.TemporaryDirectory() as directory:
        found = search_exactly(
            embedded(queries, Path(directory) / "q"),
            embedded(gallery, Path(directory) / "g"),
            Ragged.of(np.array(one, np.int64) for one in labelled),
            depth,
            lambda _: None,
        )
    for number, query in enumerate(queries):
        ranking = [] if query is None else sorted_gallery(query, gallery)
        head = [row for row in found.rows[number].tolist() if row >= 0]
        assert head == ranking[: min(depth, len(gallery))]
        expected = [ranking.index(row) if row in ranking else -1 for row in labelled[number]]
        assert found.ranks[number].tolist() == expected
    assert set(found.unreadable_gallery) == {row for row, vector in enumerate(gallery) if vector is None}
    assert set(found.unreadable_queries) == {row for row, vector in enumerate(queries) if vector is None}


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_ranks_of_the_official_labels_score_as_the_official_evaluator_scores_full_rankings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = OFFICIAL / f"gnd_{name}.pkl"
    if not official.exists():
        pytest.skip("the official ground truth is not here")
    monkeypatch.setattr(embeddings_module, "_SHARD_PHOTOGRAPHS", 1024)
    truth = read_revisited(official)
    rng = np.random.default_rng(0)
    # Few values, so that many scores are equal.
    queries = rng.integers(0, 9, (len(truth.qimlist), 2))
    gallery = rng.integers(0, 9, (len(truth.imlist) + 500, 2))
    labelled = [np.array([*known.easy, *known.hard, *known.junk], np.int64) for known in truth.gnd]
    found = search_exactly(
        embedded(queries.tolist(), tmp_path / "q"),
        embedded(gallery.tolist(), tmp_path / "g"),
        Ragged.of(labelled),
        10,
        lambda _: None,
    )
    rankings = [np.argsort(-(gallery @ query), kind="stable") for query in queries]
    for setup in SETUPS:
        positions = []
        for number, known in enumerate(truth.gnd):
            rank_of = dict(zip(labelled[number].tolist(), found.ranks[number].tolist(), strict=True))
            junk = [rank_of[row] for row in known.ignored(setup).tolist()]
            ranks = sorted(rank_of[row] for row in known.relevant(setup).tolist())
            positions.append(np.array([rank - sum(one < rank for one in junk) for rank in ranks], np.int64))
        expected = score_revisited(rankings, truth, setup)
        assert score_revisited_positions(positions, [len(known.relevant(setup)) for known in truth.gnd]) == expected
