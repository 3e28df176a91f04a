"""Labelled photographs: procedural scenes, and files that a CSV lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aff_toolkit.scenes.view import render_view
from aff_toolkit.training.photographs import LabelledFilesError, listed_photographs, scene_photographs
from tests.support.plain_photograph import plain_png

COLOURS = {"red.png": (200, 0, 0), "green.png": (0, 200, 0), "blue.png": (0, 0, 200)}


def write_csv(directory: Path, text: str) -> Path:
    (directory / "images").mkdir()
    for name, colour in COLOURS.items():
        (directory / "images" / name).write_bytes(plain_png(colour))
    path = directory / "set.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_the_wanted_roles_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    csv = write_csv(
        tmp_path,
        "role,instance,path,note\n"
        "gallery,pear,images/green.png,a\n"
        "train,pear,images/red.png,b\n"
        "query,apple,images/red.png,c\n"
        "distractor,plum,images/blue.png,d\n",
    )
    found = listed_photographs(csv, ["distractor", "gallery"])
    assert [photograph.instance for photograph in found] == ["pear", "plum"]
    assert [tuple(photograph.load()[0, 0]) for photograph in found] == [COLOURS["green.png"], COLOURS["blue.png"]]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,label\nimages/red.png,apple\n")
    with pytest.raises(LabelledFilesError, match="no column instance, role") as caught:
        listed_photographs(csv, ["train"])
    assert caught.value.item == str(csv)


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(LabelledFilesError, match="no column instance, path, role"):
        listed_photographs(write_csv(tmp_path, ""), ["train"])


def test_a_missing_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledFilesError, match="cannot be read") as caught:
        listed_photographs(tmp_path / "none.csv", ["train"])
    assert caught.value.item == str(tmp_path / "none.csv")


def test_a_listed_file_that_is_not_there_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,role\nimages/gone.png,apple,train\n")
    (photograph,) = listed_photographs(csv, ["train"])
    with pytest.raises(LabelledFilesError, match="cannot be read") as caught:
        photograph.load()
    assert caught.value.item == str(tmp_path / "images" / "gone.png")


def test_scenes_come_view_by_view_of_each_landmark() -> None:
    found = scene_photographs([7, 3], [1, 4], difficulty=(0.25, 0.25), seed=0)
    assert [photograph.instance for photograph in found] == ["scene-7", "scene-7", "scene-3", "scene-3"]
    for photograph, (landmark, view) in zip(found, [(7, 1), (7, 4), (3, 1), (3, 4)], strict=True):
        np.testing.assert_array_equal(photograph.load(), render_view(landmark, view, difficulty=0.25))


def test_the_seed_draws_the_difficulty_of_each_view() -> None:
    def pixels(seed: int) -> np.ndarray:
        return scene_photographs([7], [1], difficulty=(0.0, 1.0), seed=seed)[0].load()

    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert not np.array_equal(pixels(1), pixels(2))
