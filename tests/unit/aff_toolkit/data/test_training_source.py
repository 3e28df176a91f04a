"""Sources of a recipe: parts, numbers, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.image_files import FolderError
from aff_toolkit.data.photograph_source import (
    CsvSource,
    DatasetSource,
    FolderSource,
    PathSource,
    ScenesSource,
    UnlabelledSource,
)
from aff_toolkit.data.training_source import TrainingSource, absent_sources, describe_source, licences_of, load_sources
from tests.support.hub_datasets import images_table, write_dataset_file
from tests.support.images import jpeg_bytes
from tests.support.plain_photograph import plain_png


def folder(root: Path, *instances: str) -> FolderSource:
    for instance in instances:
        (root / instance).mkdir(parents=True)
        (root / instance / "1.jpg").write_bytes(jpeg_bytes())
    return FolderSource(path=root)


def test_the_two_halves_of_a_source_share_no_instance_and_leave_none_out(tmp_path: Path) -> None:
    photographs = folder(tmp_path, "ash", "beech", "cedar", "elm", "fir")
    first = TrainingSource(photographs=photographs, part="first_half").load()
    second = TrainingSource(photographs=photographs, part="second_half").load()
    assert [photograph.instance for photograph in first] == ["ash", "cedar", "fir"]
    assert [photograph.instance for photograph in second] == ["beech", "elm"]


def test_equal_names_in_two_sources_are_two_instances(tmp_path: Path) -> None:
    sources = [TrainingSource(photographs=folder(tmp_path / place, "1")) for place in ("here", "there")]
    photographs = load_sources(sources)
    assert [photograph.instance for photograph in photographs] == ["0/1", "1/1"]
    assert [photograph.name for photograph in photographs] == ["0/1/1.jpg", "1/1/1.jpg"]
    assert [photograph.instance for photograph in load_sources(sources[:1])] == ["1"]


def test_an_optional_source_that_is_missing_is_left_out_with_its_licence(tmp_path: Path) -> None:
    absent = FolderSource(path=tmp_path / "none")
    scenes = TrainingSource(photographs=ScenesSource(instances=2, views=1), licence="own")
    sources = [scenes, TrainingSource(photographs=absent, optional=True, licence="theirs")]
    assert [photograph.instance for photograph in load_sources(sources)] == ["0/scene-0", "0/scene-1"]
    assert licences_of(sources) == ("own",)
    assert absent_sources([*sources, sources[1]]) == [tmp_path / "none"]


def test_another_source_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="is not a folder"):
        load_sources([TrainingSource(photographs=FolderSource(path=tmp_path / "none"))])


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(plain_png((200, 0, 0)))
    return root


def test_a_folder_of_folders_is_described_with_what_is_left_out_of_it(tmp_path: Path) -> None:
    root = fill(tmp_path, "tower/1.png", "tower/2.png", "gate/1.png", "cover.png")
    (root / "empty").mkdir()
    left_out = ["left out, in no subfolder (1): cover.png", "left out, without images (1): empty"]
    first = f"{root}: 2 subfolders taken for 2 things, 3 photographs"
    assert describe_source(FolderSource(path=root)) == [first, *left_out]
    assert describe_source(PathSource(path=root)) == [first, *left_out]
    assert describe_source(FolderSource(path=root), options=True)[0] == f"{first}; --unlabelled if they are albums"


def test_photographs_without_labels_are_counted_and_subfolders_among_them_named(tmp_path: Path) -> None:
    source = UnlabelledSource(path=fill(tmp_path, "1.png", "2.png"))
    assert describe_source(source) == [f"{tmp_path}: 2 photographs without labels"]
    fill(tmp_path, "more/3.png")
    (line,) = describe_source(source, options=True)
    assert "3 photographs without labels, whose 1 subfolders are not taken for things; --labelled" in line


def test_subfolders_that_cannot_be_read_are_named_and_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, "tower/1.png", "tower/2.png")
    (root / "gone").symlink_to("nowhere")
    for source in (FolderSource(path=root), UnlabelledSource(path=root)):
        assert describe_source(source)[-1] == "left out, cannot be read (1): gone"
        assert len(source.photographs()) == 2


def test_a_list_states_how_many_things_it_names_and_scenes_need_no_word(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,instance\na.jpg,tower\nb.jpg,tower\nc.jpg,gate\n", encoding="utf-8")
    source = CsvSource(path=tmp_path / "list.csv", roles=None)
    assert describe_source(source) == [f"{tmp_path / 'list.csv'}: 3 photographs of 2 things"]
    assert describe_source(ScenesSource(instances=2, views=2)) == []
    path = write_dataset_file(tmp_path / "set.parquet", images_table([b"", b""], [0, 1]))
    assert describe_source(DatasetSource(path=path)) == [f"{path}: 2 photographs of 2 things"]
    unlabelled = images_table([b"", b""], [0, 1]).drop_columns(["label"])
    path = write_dataset_file(tmp_path / "set.parquet", unlabelled)
    assert describe_source(DatasetSource(path=path)) == [f"{path}: 2 photographs without labels"]
