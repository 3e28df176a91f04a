"""Embeddings survive a kill, and belong to one encoder and one list of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_shared.errors import ImageError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation import embeddings as embeddings_module
from aff_toolkit.evaluation.embeddings import Embeddings, embed_photographs
from tests.support.full_disk import no_file_beyond


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_module, "SHARD_PHOTOGRAPHS", 3)
    monkeypatch.setattr(embeddings_module, "_BATCH", 2)


def broken() -> NDArray[np.uint8]:
    raise ImageError("broken")


def photographs(count: int, *, unreadable: int = -1) -> list[Photograph]:
    return [
        Photograph(f"{i}.jpg", "x", broken if i == unreadable else lambda i=i: np.array([i], np.uint8))  # type: ignore[misc]
        for i in range(count)
    ]


class CountingEncoder:
    """Embeds a photograph as the number that it shows; fails at a given one, as a kill would."""

    def __init__(self, dies_at: int = -1) -> None:
        self.seen: list[int] = []
        self._dies_at = dies_at

    def __call__(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        for image in images:
            if int(image[0]) == self._dies_at:
                raise KeyboardInterrupt
            self.seen.append(int(image[0]))
        return np.stack(images).astype(np.float32)


def embed(count: int, encoder: CountingEncoder, directory: Path, key: str = "key", **options: int) -> Embeddings:
    return embed_photographs(photographs(count, **options), encoder, 1, directory, key, lambda _: None)


def values(embeddings: Embeddings) -> list[float]:
    return [float(row[0]) for chunk in embeddings.chunks() for row in chunk.embeddings]


def test_a_killed_run_resumes_where_its_last_whole_shard_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(8, CountingEncoder(dies_at=4), tmp_path)
    second = CountingEncoder()
    assert values(embed(8, second, tmp_path)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert second.seen == [3, 4, 5, 6, 7]


def test_an_altered_shard_is_made_again(tmp_path: Path) -> None:
    embed(5, CountingEncoder(), tmp_path)
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    second = CountingEncoder()
    assert values(embed(5, second, tmp_path)) == [0, 1, 2, 3, 4]
    assert second.seen == [3, 4]


def test_what_cannot_be_read_keeps_its_row_and_its_reason(tmp_path: Path) -> None:
    embeddings = embed(5, CountingEncoder(), tmp_path, unreadable=3)
    assert values(embeddings) == [0, 1, 2, 0, 4]
    assert [bool(one) for chunk in embeddings.chunks() for one in chunk.readable] == [True, True, True, False, True]
    assert embeddings.unreadable == {3: "3.jpg: broken"}


def test_embeddings_of_another_evaluation_are_rejected(tmp_path: Path) -> None:
    embed(2, CountingEncoder(), tmp_path)
    with pytest.raises(RankingsMismatchError, match="another bundle or benchmark"):
        embed(2, CountingEncoder(), tmp_path, key="other")
    (tmp_path / "embeddings.json").write_text("text")
    with pytest.raises(RankingsMismatchError, match="not a description"):
        embed(2, CountingEncoder(), tmp_path)


def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RankingsNotWrittenError):
        embed(2, CountingEncoder(), tmp_path / "file" / "below")


def test_a_full_disk_leaves_no_half_description_behind(tmp_path: Path) -> None:
    with no_file_beyond(3), pytest.raises(RankingsNotWrittenError):
        embed(2, CountingEncoder(), tmp_path)
    assert values(embed(2, CountingEncoder(), tmp_path)) == [0, 1]
