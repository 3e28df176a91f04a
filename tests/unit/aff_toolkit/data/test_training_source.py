"""Sources of a recipe: parts, numbers, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.image_files import FolderError
from aff_toolkit.data.photograph_source import FolderSource, ScenesSource
from aff_toolkit.data.training_source import TrainingSource, absent_sources, licences_of, load_sources
from tests.support.images import jpeg_bytes


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
