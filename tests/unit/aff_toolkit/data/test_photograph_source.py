"""A path on the command line, or a table of a recipe, becomes a list of photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from aff_toolkit.data.photograph_source import (
    CsvSource,
    DatasetSource,
    FolderSource,
    Gldv2Source,
    PathSource,
    PhotographSource,
    ScenesSource,
    UnlabelledSource,
    source_of_path,
)
from aff_toolkit.errors import PhotographListError, PhotographSourceError
from tests.support.hub_datasets import images_table, write_dataset_file
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


def test_a_loose_photograph_next_to_folders_of_things_does_not_take_their_labels_away(tmp_path: Path) -> None:
    for name in ("tower/1.jpg", "tower/2.jpg", "cover.jpg"):
        _photograph(tmp_path / name)
    source = source_of_path(tmp_path)
    assert source == FolderSource(path=tmp_path)
    assert [photograph.name for photograph in source.photographs()] == ["tower/1.jpg", "tower/2.jpg"]


def test_whether_subfolders_are_things_can_be_decided_for_a_folder_and_not_for_a_list(tmp_path: Path) -> None:
    _photograph(tmp_path / "2018" / "1.jpg")
    _photograph(tmp_path / "a.jpg")
    assert source_of_path(tmp_path, labelled=True) == FolderSource(path=tmp_path)
    assert source_of_path(tmp_path, labelled=False) == UnlabelledSource(path=tmp_path)
    (tmp_path / "list.csv").write_text("path,instance\na.jpg,tower\n")
    with pytest.raises(PhotographSourceError, match="is a list or a data set"):
        source_of_path(tmp_path / "list.csv", labelled=False)


def test_a_csv_file_is_distinguished_from_that_of_gldv2_by_its_columns(tmp_path: Path) -> None:
    listed, landmarks = tmp_path / "list.csv", tmp_path / "train_clean.csv"
    listed.write_text("path,instance\na.jpg,tower\nb.jpg,tower\n")
    landmarks.write_text("landmark_id,images\n7,abcd efgh\n")
    assert source_of_path(listed) == CsvSource(path=listed, roles=None)
    assert source_of_path(landmarks) == Gldv2Source(path=landmarks)
    assert [photograph.name for photograph in source_of_path(listed).photographs()] == ["a.jpg", "b.jpg"]
    (first, _) = source_of_path(landmarks).photographs()
    assert (first.name, first.instance) == ("a/b/c/abcd.jpg", "7")


def test_a_path_in_a_recipe_is_what_exists_when_it_is_read(tmp_path: Path) -> None:
    source = PathSource(path=tmp_path)
    _photograph(tmp_path / "tower" / "1.jpg")
    assert source.labelled
    assert [photograph.instance for photograph in source.photographs()] == ["tower"]
    _photograph(tmp_path / "a.jpg")
    assert not source.labelled
    assert [photograph.instance for photograph in source.photographs()] == ["a.jpg", "tower/1.jpg"]


@pytest.mark.parametrize("name", ["train-0.parquet", "train-0.arrow"])
def test_a_data_set_is_found_by_its_files(tmp_path: Path, name: str) -> None:
    table = images_table([jpeg_bytes()] * 2, [0, 1])
    path = write_dataset_file(tmp_path / "set" / "data" / name, table)
    write_dataset_file(tmp_path / "set" / "data" / "test-0.parquet", images_table([jpeg_bytes()], [0]))
    source = source_of_path(tmp_path / "set")
    assert source == DatasetSource(path=tmp_path / "set")
    assert source.labelled
    found = source.photographs()
    assert [(one.name, one.instance) for one in found] == [(f"data/{name}/1", "cat"), (f"data/{name}/2", "dog")]
    assert [one.name for one in DatasetSource(path=tmp_path / "set", split="test").photographs()] == [
        "data/test-0.parquet/1"
    ]
    assert [one.name for one in source_of_path(path).photographs()] == [f"{name}/1", f"{name}/2"]
    with pytest.raises(PhotographSourceError, match="is a list or a data set"):
        source_of_path(path, labelled=False)


def test_a_data_set_without_a_column_of_instances_has_no_labels(tmp_path: Path) -> None:
    table = images_table([jpeg_bytes()], [0]).drop_columns(["label"])
    source = source_of_path(write_dataset_file(tmp_path / "a.parquet", table))
    assert not source.labelled
    assert [one.instance for one in source.photographs()] == ["a.parquet/1"]


def test_a_data_set_of_a_recipe_has_a_path_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    folder = tmp_path / "owner___name" / "default" / "0.0.0" / "ab"
    write_dataset_file(folder / "name-train.arrow", images_table([jpeg_bytes()], [1]))
    (folder / "dataset_info.json").write_text("{}")
    adapter: TypeAdapter[PhotographSource] = TypeAdapter(PhotographSource)
    source = adapter.validate_python({"kind": "dataset", "name": "owner/name"})
    assert [one.instance for one in source.photographs()] == ["dog"]
    for settings in ({}, {"path": "a", "name": "b"}):
        with pytest.raises(ValidationError, match="either path or name"):
            adapter.validate_python({"kind": "dataset", **settings})


@pytest.mark.parametrize("name", ["nothing", "photograph.jpg"])
def test_anything_else_is_rejected(tmp_path: Path, name: str) -> None:
    _photograph(tmp_path / "photograph.jpg")
    with pytest.raises(PhotographSourceError, match=r"neither a folder nor a \.csv, \.tsv, \.parquet"):
        source_of_path(tmp_path / name)


def test_a_recipe_names_a_source_by_its_kind() -> None:
    adapter: TypeAdapter[PhotographSource] = TypeAdapter(PhotographSource)
    source = adapter.validate_python({"kind": "scenes", "instances": 2, "views": 3, "first": 7})
    assert isinstance(source, ScenesSource)
    assert [photograph.name for photograph in source.photographs()][::3] == ["scene-7/0", "scene-8/0"]
    with pytest.raises(ValidationError, match="kind"):
        adapter.validate_python({"kind": "film"})


def _csv(directory: Path, text: str) -> Path:
    path = directory / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _instances(source: CsvSource) -> list[str]:
    return [photograph.instance for photograph in source.photographs()]


def test_a_row_without_an_instance_is_a_separate_instance_where_the_list_may_have_such_rows(tmp_path: Path) -> None:
    rows = "path,instance,role\na.jpg,,train\nb.jpg,tower,train\na.jpg,,train\nc.jpg,,query\n"
    path = _csv(tmp_path, rows)
    assert _instances(CsvSource(path=path, alone=True)) == ["a.jpg", "tower", "a.jpg (line 4)"]
    with pytest.raises(PhotographListError, match="line 2 has no path or no instance"):
        CsvSource(path=path).photographs()


def test_a_row_without_a_path_is_an_error_even_where_it_may_be_a_separate_instance(tmp_path: Path) -> None:
    path = _csv(tmp_path, "path,instance,role\n,tower,train\n")
    with pytest.raises(PhotographListError, match="line 2 has no path or no instance"):
        CsvSource(path=path, alone=True).photographs()


def test_a_video_is_cut_into_pieces_of_so_many_frames_each(tmp_path: Path) -> None:
    frames = "".join(f"{number}.jpg,walk,{number},train\n" for number in (0, 1, 2, 3, 4, 5, 7))
    path = _csv(tmp_path, f"path,instance,frame,role\n{frames}still.jpg,tower,,train\n3.png,other,3,train\n")
    assert _instances(CsvSource(path=path, frames_together=3)) == [
        *("walk/0", "walk/0", "walk/0", "walk/1", "walk/1", "walk/1", "walk/2"),
        "tower",
        "other/1",
    ]
    assert _instances(CsvSource(path=path)) == ["walk"] * 7 + ["tower", "other"]


def test_a_list_without_frames_stays_whole(tmp_path: Path) -> None:
    path = _csv(tmp_path, "path,instance,role\na.jpg,tower,train\nb.jpg,tower,train\n")
    assert _instances(CsvSource(path=path, frames_together=3)) == ["tower", "tower"]


@pytest.mark.parametrize("frame", ["soon", "1.5"])
def test_a_frame_that_is_not_a_whole_number_names_its_photograph(tmp_path: Path, frame: str) -> None:
    path = _csv(tmp_path, f"path,instance,frame,role\na.jpg,walk,1,train\nb.jpg,walk,{frame},train\n")
    with pytest.raises(PhotographListError, match=rf"b\.jpg: the frame '{frame}' is not an integer") as caught:
        CsvSource(path=path, frames_together=2).photographs()
    assert caught.value.item == str(path)
