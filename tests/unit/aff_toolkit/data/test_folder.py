"""Photographs of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aff_shared.errors import AffError
from aff_toolkit.data.folder import folder_photographs, look_like_albums, survey_folder, unlabelled_photographs
from aff_toolkit.data.image_files import FolderError
from aff_toolkit.indexing.sources import source_items
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


def test_a_photograph_next_to_the_folders_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"loose\.png is not in a subfolder"):
        folder_photographs(fill(tmp_path, "tower/a.png", "loose.png"))


def test_photographs_next_to_the_folders_are_left_out_if_requested(tmp_path: Path) -> None:
    root = fill(tmp_path, "tower/a.png", "loose.png")
    assert [photograph.name for photograph in folder_photographs(root, loose=True)] == ["tower/a.png"]
    (root / "tower" / "a.png").unlink()
    with pytest.raises(FolderError, match="no image files in subfolders"):
        folder_photographs(root, loose=True)


def test_a_survey_counts_the_images_of_each_folder_and_names_what_is_loose_or_empty(tmp_path: Path) -> None:
    root = fill(
        tmp_path, "tower/1.png", "tower/2.png", "gate/old/a.png", "cover.png", ".hidden/b.png", ".hidden/c/d.png"
    )
    for folder in ("empty/inner", "gate/new", ".secret"):
        (root / folder).mkdir(parents=True)
    (root / "empty" / "notes.txt").write_text("no image", encoding="utf-8")
    found = survey_folder(root)
    assert dict(found.images) == {"gate/old": 1, "tower": 2}
    assert found.loose == ("cover.png",)
    assert found.empty == ("empty", "gate/new")
    assert found.labelled


def test_a_folder_is_labelled_where_more_images_are_in_subfolders_than_next_to_them(tmp_path: Path) -> None:
    root = fill(tmp_path, "a.png", "b.png", "more/c.png", "more/d.png")
    assert not survey_folder(root).labelled
    assert survey_folder(fill(root, "more/e.png")).labelled


def test_the_rule_of_what_is_left_out_is_that_of_indexing(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "a/1.png", "a/@eaDir/1.png/thumb.png", "a/._2.png", "__MACOSX/3.png", "a/noext")
    fill(tmp_path / "outside", "4.png", "sub/5.png")
    (root / "linked").symlink_to("../outside")
    (root / "alias").symlink_to("a")  # the same photographs are not a second instance
    (root / "a" / "loop").symlink_to("..")
    expected = ["a/1.png", "linked/4.png", "linked/sub/5.png"]
    assert [photograph.name for photograph in unlabelled_photographs(root)] == expected
    assert sorted(item.id for item in source_items(str(root))) == expected
    assert [photograph.instance for photograph in folder_photographs(root)] == ["a", "linked", "linked/sub"]
    assert folder_photographs(root)[2].load().shape == folder_photographs(root)[0].load().shape


def test_a_subfolder_that_cannot_be_read_is_named_and_left_out_if_requested(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/1.png", "a/2.png")
    (root / "gone").symlink_to("nowhere")
    for photographs in (folder_photographs, unlabelled_photographs):
        assert [photograph.name for photograph in photographs(root, unreadable=True)] == ["a/1.png", "a/2.png"]
        with pytest.raises(FolderError, match="cannot be read") as caught:
            photographs(root)
        assert caught.value.item == str(root / "gone")
    assert survey_folder(root).unreadable == ("gone",)


def test_names_that_are_not_utf8_are_written_as_escapes_and_their_files_are_read(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode(b"caf\xe9/\xe8.png"))
    for (photograph,) in (folder_photographs(tmp_path), unlabelled_photographs(tmp_path)):
        assert photograph.name == "caf\\xe9/\\xe8.png"
        assert photograph.instance.startswith("caf\\xe9")
        assert tuple(photograph.load()[0, 0]) == (200, 0, 0)


def test_a_pipe_among_the_photographs_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (photograph,) = unlabelled_photographs(tmp_path)
    with pytest.raises(AffError, match="is not a regular file"):
        photograph.load()


def test_without_labels_every_photograph_is_an_instance(tmp_path: Path) -> None:
    found = unlabelled_photographs(fill(tmp_path, "b.png", "sub/a.png"))
    assert [(p.name, p.instance) for p in found] == [("b.png", "b.png"), ("sub/a.png", "sub/a.png")]


def test_a_folder_without_images_or_no_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds no image files"):
        unlabelled_photographs(tmp_path)
    with pytest.raises(FolderError, match="is not a folder"):
        folder_photographs(tmp_path / "none")


def test_a_photograph_that_is_missing_or_no_image_is_reported_when_it_is_loaded(tmp_path: Path) -> None:
    gone, text = unlabelled_photographs(fill(tmp_path, "a.png", "b.png"))
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"no image")
    for photograph in (gone, text):
        with pytest.raises(AffError) as caught:
            photograph.load()
        assert str(caught.value.item).endswith(photograph.name)


@pytest.mark.parametrize(
    "names",
    [
        ("2018", "2019"),
        ("2018-05-03", "2018-07-19 Rome"),
        ("Photos from 2019", "Photos from 2020", "Untitled"),
        ("20180503", "20180504"),
        ("201805", "201806"),
        ("3.5.19", "12-11-19"),
        ("May", "June 3rd", "sept"),
        ("2018/rome", "2018/oslo", "2019/home"),
        ("100CANON", "101CANON"),
        ("DCIM", "Camera"),
    ],
)
def test_folders_named_after_dates_or_by_a_camera_do(names: tuple[str, ...]) -> None:
    assert look_like_albums(dict.fromkeys(names, 3))


@pytest.mark.parametrize(
    "names",
    [
        ("tower", "bridge"),
        ("500", "501", "1"),
        ("00012345", "00012346"),
        ("12345678", "23456789"),
        ("mayonnaise", "marmalade", "decanter"),
        ("jar 2019", "lamp", "chair"),
        ("fruit/apple", "fruit/pear"),
    ],
)
def test_folders_named_after_things_or_numbers_do_not(names: tuple[str, ...]) -> None:
    assert not look_like_albums(dict.fromkeys(names, 3))


def test_few_folders_of_many_images_each_do_and_many_folders_do_not() -> None:
    assert look_like_albums({"rome": 200, "home": 40, "work": 31})
    assert not look_like_albums({"rome": 20, "home": 40, "work": 29})
    assert not look_like_albums({str(number): 100 for number in range(10)})
    assert not look_like_albums({})
