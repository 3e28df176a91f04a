"""Rankings are kept whole, under the identity of what they were made from; exact search."""

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
from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation import embeddings as embeddings_module
from aff_toolkit.evaluation.embeddings import Embeddings, embed_photographs
from aff_toolkit.evaluation.rankings import Rankings, read_rankings, search_exactly, write_rankings
from aff_toolkit.evaluation.relevance import Ragged
from aff_toolkit.evaluation.revisited import SETUPS, read_revisited
from aff_toolkit.evaluation.revisited_scores import score_revisited_positions
from tests.support.revisited_scores import score_revisited

LABELLED = Ragged.of([np.array([4, 2]), np.array([], np.int64), np.array([0])])
RANKINGS = Rankings(
    rows=np.array([[2, 4], [0, -1], [1, 0]]),
    scores=np.array([[0.9, 0.5], [0.1, -np.inf], [0.3, 0.2]], np.float32),
    labelled=LABELLED,
    ranks=LABELLED.with_values(np.array([1, 0, 7])),
    unreadable_queries={2: "c.jpg: broken"},
    unreadable_gallery={5: "f.jpg: gone"},
    seconds={"search": 0.5},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_rankings(tmp_path / "new" / "a.safetensors", RANKINGS, "key")
    found = read_rankings(tmp_path / "new" / "a.safetensors", "key")
    assert np.array_equal(found.rows, RANKINGS.rows)
    assert np.array_equal(found.scores, RANKINGS.scores)
    assert [rows.tolist() for rows in found.labelled] == [[4, 2], [], [0]]
    assert [ranks.tolist() for ranks in found.ranks] == [[1, 0], [], [7]]
    assert (found.unreadable_queries, found.unreadable_gallery) == ({2: "c.jpg: broken"}, {5: "f.jpg: gone"})
    assert found.seconds == {"search": 0.5}


def test_rankings_of_another_evaluation_are_rejected(tmp_path: Path) -> None:
    write_rankings(tmp_path / "a.safetensors", RANKINGS, "key")
    with pytest.raises(RankingsMismatchError, match="another bundle, benchmark"):
        read_rankings(tmp_path / "a.safetensors", "other")


def test_what_is_not_rankings_or_missing_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"text")
    for name in ("a", "b"):
        with pytest.raises(RankingsError, match="evaluate again"):
            read_rankings(tmp_path / f"{name}.safetensors", "key")


def test_an_unwritable_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RankingsNotWrittenError, match="embeddings are kept"):
        write_rankings(tmp_path / "file" / "a.safetensors", RANKINGS, "key")


OFFICIAL = Path(__file__).parents[5] / "shared" / "data" / "revisited"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_module, "SHARD_PHOTOGRAPHS", 3)


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
    monkeypatch.setattr(embeddings_module, "SHARD_PHOTOGRAPHS", 1024)
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
