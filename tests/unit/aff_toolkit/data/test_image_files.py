"""Which folders are read, in which order, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aff_toolkit.data.image_files import (
    PhotographFolder,
    UnreadableFolderError,
    is_hidden,
    is_image_name,
    photograph_folders,
)


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def files(root: Path) -> list[str]:
    found = []
    for folder in photograph_folders(str(root)):
        assert isinstance(folder, PhotographFolder)
        found += [f"{folder.path}/{name}".removeprefix(f"{root}/") for name in folder.files]
    return found


def test_folders_and_files_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "b/2", "b/1", "a/z", "a/c/y", "x")
    assert files(tmp_path) == ["x", "a/z", "a/c/y", "b/1", "b/2"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "._IMG_1.jpg",
            ".AppleDouble/IMG_1.jpg",
            "@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_XL.jpg",
            ".Trash-1000/files/a.jpg",
        ),
        *(".thumbnails/a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a.jpg", "$RECYCLE.BIN/a.jpg"),
        *("sub/.ipynb_checkpoints/a.jpg", "lost+found/a.jpg", "#recycle/a.jpg", "System Volume Information/a.jpg"),
    ],
)
def test_hidden_and_system_files_are_left_out(tmp_path: Path, name: str) -> None:
    assert is_hidden(name)
    assert files(write(tmp_path, name, "a.jpg")) == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.jpg", "./a.jpg", "../a.jpg", "a/b.c/@d.jpg", "$a.jpg", "thumbs.db.jpg", "#1.jpg"])
def test_other_names_are_not_hidden(name: str) -> None:
    assert not is_hidden(name)


@pytest.mark.parametrize("name", ["a.jpe", "a.mpo", "a.hif", "A.JPG", "a.apng"])
def test_the_suffixes_of_phones_and_cameras_are_those_of_images(name: str) -> None:
    assert is_image_name(name)


def test_the_root_itself_may_be_hidden(tmp_path: Path) -> None:
    assert files(write(tmp_path / ".cache", "a.jpg")) == ["a.jpg"]


def test_linked_folders_are_followed_after_all_others(tmp_path: Path) -> None:
    write(tmp_path / "outside", "1.jpg", "sub/2.jpg")
    root = write(tmp_path / "root", "z/3.jpg")
    (root / "a").symlink_to("../outside")
    assert files(root) == ["z/3.jpg", "a/1.jpg", "a/sub/2.jpg"]


def test_a_folder_that_several_paths_lead_to_has_the_one_without_links(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "z/3.jpg", ".store/4.jpg")
    for name, target in {"a": "z", "b": ".", "z/up": "..", "shown": ".store", "again": ".store"}.items():
        (root / name).symlink_to(target)
    assert files(root) == ["z/3.jpg", "again/4.jpg"]


def test_folders_that_link_to_each_other_are_read_once_each(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(12):  # 12! paths lead through them
        write(tmp_path / f"{number}", "a.jpg")
        for other in range(12):
            (tmp_path / f"{number}" / f"to-{other}").symlink_to(f"../{other}")
    (root / "first").symlink_to("../0")
    assert len(files(root)) == 12


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_linked_folder_that_is_missing_is_named(tmp_path: Path, target: str) -> None:
    root = write(tmp_path, "a/1.jpg")
    (root / "link").symlink_to(target)
    *_, error = photograph_folders(str(root))
    assert isinstance(error, UnreadableFolderError)
    assert error.item == f"{root}/link"
    assert "cannot be read" in error.detail


def test_a_folder_that_may_not_be_read_is_named_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path, "a/1.jpg", "closed/2.jpg", "z/3.jpg")
    scandir = os.scandir

    def guarded(path: str) -> os._ScandirIterator[str]:  # permissions do not bind root
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = list(photograph_folders(str(root)))
    assert [str(one) for one in found if isinstance(one, UnreadableFolderError)] == [
        f"{root}/closed: cannot be read: Permission denied"
    ]
    assert [one.path for one in found if isinstance(one, PhotographFolder)] == [str(root), f"{root}/a", f"{root}/z"]
