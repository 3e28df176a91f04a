"""A folder of photographs goes to the gallery indexer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aff_toolkit import folder_indexing
from aff_toolkit.client import IndexerClient, ServiceError
from aff_toolkit.demo.local_service import LocalServices
from aff_toolkit.folder_indexing import FolderError, FolderSummary, find_photographs, index_folder
from tests.support.images import png_bytes
from tests.support.plain_photograph import plain_png
from tests.unit.aff_toolkit.conftest import MAX_BODY_BYTES


@pytest.fixture(scope="module")
def indexer(services: LocalServices) -> Iterator[IndexerClient]:
    with IndexerClient(services.indexer_url) as client:
        yield client


def fill(folder: Path, prefix: str, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{prefix}-{i:02d}.png").write_bytes(plain_png((i, 2 * i, 3 * i)))
    return folder


def sent(indexer: IndexerClient, folder: Path) -> tuple[FolderSummary, list[int]]:
    done: list[int] = []
    return index_folder(indexer, folder, find_photographs(folder), done.append), done


def test_image_files_are_found_below_a_folder_in_a_stable_order(tmp_path: Path) -> None:
    fill(tmp_path / "b", "photo", 1)
    fill(tmp_path, "photo", 2)
    (tmp_path / "a.JPEG").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_photographs(tmp_path)]
    assert found == ["a.JPEG", "b/photo-00.png", "photo-00.png", "photo-01.png"]


def test_what_is_not_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is not a folder") as caught:
        find_photographs(tmp_path / "none")
    assert caught.value.item == str(tmp_path / "none")


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds no image files"):
        find_photographs(tmp_path)


def test_more_photographs_than_a_batch_are_all_indexed_and_a_second_time_are_duplicates(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    folder = fill(tmp_path, "batches", 40)
    first, done = sent(indexer, folder)
    assert (first.files, first.indexed, first.duplicate, first.failures) == (40, 40, 0, {})
    assert sum(done) == 40
    assert len(done) > 1
    second, _ = sent(indexer, folder)
    assert (second.indexed, second.updated, second.duplicate) == (0, 0, 40)


def test_a_changed_photograph_is_updated(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path, "changed", 2)
    sent(indexer, folder)
    (folder / "changed-01.png").write_bytes(plain_png((200, 0, 0)))
    summary, _ = sent(indexer, folder)
    assert (summary.indexed, summary.updated, summary.duplicate) == (0, 1, 1)


def test_a_broken_photograph_is_listed_and_the_others_are_indexed(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path, "whole", 3)
    (folder / "broken.png").write_bytes(plain_png((1, 2, 3))[:60])
    summary, _ = sent(indexer, folder)
    assert summary.indexed == 3
    assert list(summary.failures) == ["broken.png"]
    assert summary.failures["broken.png"].status == 422


def test_a_file_above_the_services_limit_is_listed_and_the_others_are_indexed(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    folder = fill(tmp_path, "small", 3)
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    (folder / "large.png").write_bytes(png_bytes(noise))
    assert (folder / "large.png").stat().st_size > MAX_BODY_BYTES
    summary, done = sent(indexer, folder)
    assert summary.indexed == 3
    assert list(summary.failures) == ["large.png"]
    assert summary.failures["large.png"].code == "body_too_large"
    assert sum(done) == 4


def test_a_batch_holds_no_more_bytes_than_its_limit(
    indexer: IndexerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path, "bytes", 5)
    size = (folder / "bytes-00.png").stat().st_size
    monkeypatch.setattr(folder_indexing, "_MAX_BATCH_BYTES", 2 * size + size // 2)
    summary, done = sent(indexer, folder)
    assert summary.indexed == 5
    assert done == [2, 2, 1]


def test_a_file_that_is_gone_is_listed(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path, "gone", 2)
    paths = find_photographs(folder)
    paths[0].unlink()
    summary = index_folder(indexer, folder, paths, lambda _: None)
    assert summary.indexed == 1
    assert "cannot be read" in summary.failures["gone-00.png"].detail


def test_a_refusal_for_another_reason_ends_the_run(services: LocalServices, tmp_path: Path) -> None:
    folder = fill(tmp_path, "elsewhere", 1)
    with IndexerClient(services.query_url) as not_an_indexer, pytest.raises(ServiceError):
        sent(not_an_indexer, folder)


def test_a_file_name_that_is_not_utf8_gets_a_printable_id_of_its_own(indexer: IndexerClient, tmp_path: Path) -> None:
    for raw in (b"caf\xe8.png", b"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(b"no picture")
    summary, _ = sent(indexer, tmp_path)
    assert list(summary.failures) == ["caf\\xe8.png", "caf\\xe9.png"]


def test_a_file_name_that_cannot_be_an_id_costs_no_other_file_its_place(indexer: IndexerClient, tmp_path: Path) -> None:
    fill(tmp_path, "good", 3)
    (tmp_path / "bad\nname.png").write_bytes(plain_png((9, 8, 7)))
    summary, _ = sent(indexer, tmp_path)
    assert summary.indexed + summary.duplicate + summary.updated == 3
    assert list(summary.failures) == ["bad\nname.png"]
