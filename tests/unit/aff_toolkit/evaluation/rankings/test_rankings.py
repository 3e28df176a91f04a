"""Rankings are kept whole, under the identity of what they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.rankings.rankings import Rankings, read_rankings, write_rankings
from aff_toolkit.evaluation.relevance import Ragged

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
