"""Files of data sets: in folders, by split, and by name in the caches of the hub."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from aff_toolkit.data.hub_datasets import data_files, hub_folder, is_data_folder, is_hub_name, located_files
from aff_toolkit.data.hub_datasets import training_files as files_for_training
from aff_toolkit.errors import DatasetError


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def _names(files: list[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_files_of_a_clone_are_in_natural_order_without_derived_ones(tmp_path: Path) -> None:
    names = ["data/train-10.parquet", "data/train-9.parquet", "data/test-0.PARQUET", "cache-0a.arrow", ".git/x.parquet"]
    folder = _touch(tmp_path / "clone", *names, "README.md")
    found = _names(data_files(folder), folder)
    assert found == ["data/test-0.PARQUET", "data/train-9.parquet", "data/train-10.parquet"]


@pytest.mark.parametrize(
    "name",
    ["data/train-00000-of-00002.parquet", "plain/train/0000.parquet", "own-train.arrow", "train/data-0.arrow"],
)
def test_a_split_is_a_word_of_the_path(tmp_path: Path, name: str) -> None:
    folder = _touch(tmp_path / "training", name, "data/test-0.parquet", "data/constrained-0.parquet")
    assert _names(data_files(folder, "train"), folder) == [name]
    assert _names(files_for_training(folder, None), folder) == [name]
    assert _names(files_for_training(folder, "test"), folder) == ["data/test-0.parquet"]
    with pytest.raises(DatasetError, match=r"no \.parquet or \.arrow file of the split validation: it has "):
        data_files(folder, "validation")


def test_without_the_split_train_all_files_are_for_training(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "train", "a.parquet", "b.parquet")
    assert _names(files_for_training(folder, None), folder) == ["a.parquet", "b.parquet"]
    assert data_files(folder / "a.parquet") == [folder / "a.parquet"]


def test_a_folder_with_images_is_not_a_data_set(tmp_path: Path) -> None:
    folder = _touch(tmp_path / "own", "a/list.parquet")
    assert is_data_folder(folder)
    _touch(folder, "z/photo.jpg")
    assert not is_data_folder(folder)
    assert not is_data_folder(_touch(tmp_path / "text", "README.md"))
    with pytest.raises(DatasetError, match=r"no \.parquet or \.arrow file"):
        data_files(tmp_path / "text")


def test_a_name_is_found_in_the_cache_of_datasets(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "owner___name"
    older = _touch(cache / "plain" / "0.0.0" / "aa", "dataset_info.json", "name-train.arrow")
    newer = _touch(cache / "plain" / "0.0.0" / "bb", "dataset_info.json", "name-train.arrow", "name-test.arrow")
    os.utime(older, (1, 1))
    assert hub_folder("owner/name") == newer
    assert located_files("hf:owner/name?split=test") == [newer / "name-test.arrow"]
    full = _touch(cache / "full" / "1.0.0" / "cc", "dataset_info.json", "name-train.arrow")
    with pytest.raises(DatasetError, match="several configurations in the cache: full, plain"):
        hub_folder("owner/name")
    assert located_files("hf:owner/name?config=full") == [full / "name-train.arrow"]


def test_a_name_is_found_among_the_downloads_of_the_hub(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "datasets--owner--name"
    snapshot = _touch(repository / "snapshots" / "abc", "data/train-0.parquet", "small/train-0.parquet")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert hub_folder("owner/name") == snapshot
    assert hub_folder("owner/name", "small") == snapshot / "small"


def test_what_is_not_here_is_prepared_by_datasets_where_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    module: Any = ModuleType("datasets")
    builder = SimpleNamespace(cache_dir=str(tmp_path / "x"), download_and_prepare=lambda: prepared.append("name"))
    module.load_dataset_builder = lambda name, config: builder if (name, config) == ("o/n", "c") else 1 / 0
    monkeypatch.setitem(sys.modules, "datasets", module)
    assert hub_folder("o/n", "c") == tmp_path / "x"
    assert prepared == ["name"]
    with pytest.raises(DatasetError, match="other/name: datasets cannot load it: division by zero"):
        hub_folder("other/name")


def test_without_datasets_the_error_names_both_ways_to_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match=r"`hf download own/one --repo-type dataset`, or .*aff-toolkit\[datasets\]"):
        hub_folder("own/one")


@pytest.mark.parametrize("location", ["hf:", "hf:a/b?revision=1", "hf:a/b?split=", "hf:a/b?split"])
def test_a_location_of_another_form_is_rejected(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError):
        located_files(location)


def test_a_file_system_and_an_existing_path_are_not_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_touch(tmp_path, "hf:photos/a.jpg"))
    assert is_hub_name("hf:owner/name")
    assert [is_hub_name(other) for other in ("hf://datasets/owner/name/a.parquet", "hf:photos", "photos")] == [
        False
    ] * 3
