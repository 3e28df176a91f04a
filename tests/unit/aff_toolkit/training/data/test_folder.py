"""Photographs of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_contracts.errors import AffError
from aff_toolkit.photograph_files import FolderError
from aff_toolkit.training.data.folder import folder_photographs, unlabelled_photographs
from tests.support.plain_photograph import plain_png


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain_png((200, 0, 0)))
    return root


def test_the_folder_of_a_photograph_is_its_instance_and_numbers_sort_as_numbers(tmp_path: Path) -> None:
    root = fill(tmp_path, "tower/img10.png", "tower/img2.png", "gate/old/a.png", ".hidden/b.png", "gate/.c.png")
    (root / "gate" / "notes.txt").write_text("no image", encoding="utf-8")
    found = folder_photographs(root)
    assert [photograph.name for photograph in found] == ["gate/old/a.png", "tower/img2.png", "tower/img10.png"]
    assert [photograph.instance for photograph in found] == ["gate/old", "tower", "tower"]
    assert tuple(found[0].load()[0, 0]) == (200, 0, 0)


def test_a_photograph_beside_the_folders_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"loose\.png lies in no subfolder"):
        folder_photographs(fill(tmp_path, "tower/a.png", "loose.png"))


def test_without_labels_every_photograph_is_an_instance(tmp_path: Path) -> None:
    found = unlabelled_photographs(fill(tmp_path, "b.png", "sub/a.png"))
    assert [(p.name, p.instance) for p in found] == [("b.png", "b.png"), ("sub/a.png", "sub/a.png")]


def test_a_folder_without_images_or_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds no image files"):
        unlabelled_photographs(tmp_path)
    with pytest.raises(FolderError, match="is not a folder"):
        folder_photographs(tmp_path / "none")


def test_a_photograph_that_is_gone_or_no_image_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    gone, text = unlabelled_photographs(fill(tmp_path, "a.png", "b.png"))
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"no image")
    for photograph in (gone, text):
        with pytest.raises(AffError) as caught:
            photograph.load()
        assert str(caught.value.item).endswith(photograph.name)
