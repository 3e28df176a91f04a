from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aff_shared.errors import StoreLockedError
from aff_shared.store.embedded.directory import EdgeDirectory
from tests.support.gallery_points import make_space

SPACE = make_space()


@pytest.fixture
def open_directory(tmp_path: Path) -> Iterator[Callable[[], EdgeDirectory]]:
    """Opens the same directory again, as after a restart."""
    opened: list[EdgeDirectory] = []

    def open_again() -> EdgeDirectory:
        while opened:
            opened.pop().close()
        opened.append(EdgeDirectory(tmp_path))
        return opened[-1]

    yield open_again
    opened.pop().close()


def _make_shard(directory: EdgeDirectory) -> Path:
    path = directory.new_shard_path()
    path.mkdir()
    (path / "data").write_text("data")
    return path


def test_a_new_directory_has_no_manifest(open_directory: Callable[[], EdgeDirectory]) -> None:
    assert open_directory().manifest is None


def test_an_adopted_shard_counts_after_a_restart(open_directory: Callable[[], EdgeDirectory]) -> None:
    directory = open_directory()
    shard = _make_shard(directory)
    directory.adopt(SPACE, shard)
    again = open_directory()
    assert again.manifest is not None
    assert again.manifest.embedding_space == SPACE
    assert again.shard_path == shard
    assert (shard / "data").exists()


def test_a_shard_that_was_not_adopted_is_gone_after_a_restart(
    open_directory: Callable[[], EdgeDirectory],
) -> None:
    directory = open_directory()
    adopted, unfinished = _make_shard(directory), _make_shard(directory)
    directory.adopt(SPACE, adopted)
    open_directory()
    assert adopted.exists()
    assert not unfinished.exists()


def test_the_shard_before_stays_until_the_sweep(open_directory: Callable[[], EdgeDirectory]) -> None:
    directory = open_directory()
    before, after = _make_shard(directory), _make_shard(directory)
    directory.adopt(SPACE, before)
    directory.adopt(SPACE, after)
    assert before.exists()
    directory.sweep()
    assert not before.exists()
    assert after.exists()


def test_a_manifest_that_was_being_written_does_not_count(
    open_directory: Callable[[], EdgeDirectory], tmp_path: Path
) -> None:
    directory = open_directory()
    shard = _make_shard(directory)
    directory.adopt(SPACE, shard)
    (tmp_path / "gallery.json.tmp").write_text('{"embedding_sp')
    assert open_directory().shard_path == shard


def test_a_directory_is_opened_once(open_directory: Callable[[], EdgeDirectory], tmp_path: Path) -> None:
    open_directory()
    with pytest.raises(StoreLockedError, match="QDRANT_URL"):
        EdgeDirectory(tmp_path)
