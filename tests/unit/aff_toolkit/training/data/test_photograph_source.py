"""A path on the command line, or a table of a recipe, becomes a list of photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from aff_toolkit.training.data.photograph_source import (
    CsvSource,
    FolderSource,
    Gldv2Source,
    PathSource,
    PhotographSource,
    ScenesSource,
    UnlabelledSource,
    source_of_path,
)
from aff_toolkit.training.data.source_errors import PhotographSourceError
from tests.support.images import jpeg_bytes


def _photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg_bytes())


def test_a_folder_of_subfolders_has_an_instance_in_each(tmp_path: Path) -> None:
    _photograph(tmp_path / "tower" / "1.jpg")
    _photograph(tmp_path / "bridge" / "1.jpg")
    source = source_of_path(tmp_path)
    assert source == FolderSource(path=tmp_path)
    assert [photograph.instance for photograph in source.photographs()] == ["bridge", "tower"]


def test_a_folder_with_loose_photographs_is_unlabelled(tmp_path: Path) -> None:
    _photograph(tmp_path / "a.jpg")
    _photograph(tmp_path / "more" / "b.jpg")
    source = source_of_path(tmp_path)
    assert source == UnlabelledSource(path=tmp_path)
    assert [photograph.instance for photograph in source.photographs()] == ["a.jpg", "more/b.jpg"]


def test_a_csv_file_is_told_from_that_of_gldv2_by_its_columns(tmp_path: Path) -> None:
    listed, landmarks = tmp_path / "list.csv", tmp_path / "train_clean.csv"
    listed.write_text("path,instance\na.jpg,tower\nb.jpg,tower\n")
    landmarks.write_text("landmark_id,images\n7,abcd efgh\n")
    assert source_of_path(listed) == CsvSource(path=listed, roles=None)
    assert source_of_path(landmarks) == Gldv2Source(path=landmarks)
    assert [photograph.name for photograph in source_of_path(listed).photographs()] == ["a.jpg", "b.jpg"]
    (first, _) = source_of_path(landmarks).photographs()
    assert (first.name, first.instance) == ("a/b/c/abcd.jpg", "7")


def test_a_path_in_a_recipe_is_what_lies_there_when_it_is_read(tmp_path: Path) -> None:
    source = PathSource(path=tmp_path)
    _photograph(tmp_path / "tower" / "1.jpg")
    assert source.labelled
    assert [photograph.instance for photograph in source.photographs()] == ["tower"]
    _photograph(tmp_path / "a.jpg")
    assert not source.labelled
    assert [photograph.instance for photograph in source.photographs()] == ["a.jpg", "tower/1.jpg"]


@pytest.mark.parametrize("name", ["nothing", "photograph.jpg"])
def test_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    _photograph(tmp_path / "photograph.jpg")
    with pytest.raises(PhotographSourceError, match=r"neither a folder nor a \.csv"):
        source_of_path(tmp_path / name)


def test_a_recipe_names_a_source_by_its_kind() -> None:
    adapter: TypeAdapter[PhotographSource] = TypeAdapter(PhotographSource)
    source = adapter.validate_python({"kind": "scenes", "instances": 2, "views": 3, "first": 7})
    assert isinstance(source, ScenesSource)
    assert [photograph.name for photograph in source.photographs()][::3] == ["scene-7/0", "scene-8/0"]
    with pytest.raises(ValidationError, match="kind"):
        adapter.validate_python({"kind": "film"})
