"""Folders, patterns and files under any name, and what of them is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from aff_shared.errors import ImageTooManyBytesError
from aff_toolkit.data.image_files import UnreadableFolderError
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.sources import source_items


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def _ids(location: Path | str) -> list[str]:
    return [item.id for item in source_items(str(location)) if item.read()]


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


@pytest.mark.parametrize(
    "name", ["Italy [2025]", "what?", "star*", "a::b", "~tilde", "x{1,2}", "[!a]", "photos.tar", "a.csv"]
)
def test_what_exists_under_a_name_is_taken_literally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, f"{name}/a.jpg", f"{name}/b/c.jpg", "Italy 2/d.jpg", "whatx/e.jpg", "stars/f.jpg")
    assert _ids(name) == ["a.jpg", "b/c.jpg"]
    assert _ids(f"{name}/a.jpg") == ["a.jpg"]
    assert _ids(f"{name}/**/*.jpg") == ["a.jpg", "b/c.jpg"]
    assert _ids(f"{tmp_path}/{name}/?/*.jpg") == ["b/c.jpg"]


def test_a_file_with_wildcards_in_its_name_is_taken_literally(tmp_path: Path) -> None:
    _write(tmp_path, "IMG[1].jpg", "IMG1.jpg")
    assert _ids(tmp_path / "IMG[1].jpg") == ["IMG[1].jpg"]
    assert _ids(tmp_path / "IMG[1]*") == ["IMG1.jpg"]


def test_a_home_directory_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path, "photos/a.jpg")
    assert _ids("~/photos") == _ids("~/photos/*.jpg") == ["a.jpg"]


@pytest.mark.parametrize("pattern", ["none/*.jpg", "[", "a/**.jpg", "", "a/none-*.jpg", "none/**"])
def test_a_pattern_that_matches_nothing_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path, "a/1.jpg")
    with pytest.raises(SourceError):
        list(source_items(pattern))


def test_a_pattern_leads_through_linked_folders_and_past_those_that_it_does_not_match(tmp_path: Path) -> None:
    _write(tmp_path / "outside", "2024/1.jpg")
    _write(tmp_path / "photos", "2023/2.jpg", "2024/.hidden/3.jpg")
    (tmp_path / "photos" / "more").symlink_to("../outside")
    assert _ids(tmp_path / "photos/*/2024/*.jpg") == ["more/2024/1.jpg"]
    (tmp_path / "photos" / "2022").symlink_to("nowhere")  # unreadable, and not matched
    assert _ids(tmp_path / "photos/2023*/*.jpg") == ["2023/2.jpg"]


def test_files_that_are_not_named_like_images_are_counted(tmp_path: Path) -> None:
    _write(tmp_path, "a.jpg", "noext", "b.TXT", "c/d.txt", ".hidden", "Thumbs.db")
    passed_over: Counter[str] = Counter()
    assert [item.id for item in source_items(str(tmp_path), passed_over=passed_over)] == ["a.jpg"]
    assert passed_over == {"": 1, ".txt": 2}
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(SourceError, match=r"passed over: 2 \.txt, 1 without suffix"):
        list(source_items(str(tmp_path)))


def test_a_folder_of_another_file_system_that_cannot_be_read_is_named(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe({"/bucket/a/1.jpg": b"a", "/bucket/closed/2.jpg": b"b"})
    ls = type(memory).ls

    def guarded(self: Any, path: str, **options: Any) -> Any:
        if path.endswith("closed"):
            raise PermissionError("access denied")
        return ls(self, path, **options)

    monkeypatch.setattr(type(memory), "ls", guarded)
    good, closed = source_items("memory://bucket")
    assert (good.id, closed.id) == ("a/1.jpg", "closed/")
    with pytest.raises(UnreadableFolderError, match="access denied"):
        closed.read()


def test_a_remote_file_is_read_to_the_limit_alone(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "4")
    memory.pipe({"/bucket/1.jpg": b"1234", "/bucket/2.jpg": b"12345"})
    fits, too_large = source_items("memory://bucket")
    assert fits.read() == b"1234"
    with pytest.raises(ImageTooManyBytesError):
        too_large.read()


@pytest.mark.parametrize("name", ["list.csv", "shard.tar"])
def test_a_pipe_is_no_list_and_no_shard(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="cannot be read: is not a regular file"):
        list(source_items(str(tmp_path / name)))
