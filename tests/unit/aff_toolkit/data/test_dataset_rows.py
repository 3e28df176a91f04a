"""Photographs in the rows of Parquet and Arrow files."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

from aff_shared.errors import AffError, ImageTooManyBytesError
from aff_toolkit.data.dataset_rows import DataFile, dataset_photographs
from aff_toolkit.data.photograph import Photograph, PhotographUnreadableError
from aff_toolkit.errors import DatasetError
from tests.support.hub_datasets import IMAGE, images_table, write_dataset_file
from tests.support.images import gradient, jpeg_bytes, png_bytes

FORMS = ["train.parquet", "train.arrow"]


def photographs(path: Path, **columns: str) -> list[Photograph]:
    chosen = {"image": None, "instance": None} | columns
    return dataset_photographs([DataFile(path, path.name)], **chosen, min_side=None)


@pytest.mark.parametrize("name", FORMS)
def test_rows_are_photographs_with_the_names_of_their_classes(tmp_path: Path, name: str) -> None:
    images = [png_bytes(gradient(width, 8)) for width in (8, 16, 24)]
    path = write_dataset_file(tmp_path / name, images_table(images, [0, 1, 0]), rows_together=2)
    found = photographs(path)
    assert [one.instance for one in found] == ["cat", "dog", "cat"]
    assert [one.name for one in found] == [f"{name}/1", f"{name}/2", f"{name}/3"]
    # In any order: the third is in another row group than the others.
    assert [found[row].load().shape for row in (2, 0, 1)] == [(8, 24, 3), (8, 8, 3), (8, 16, 3)]
    assert np.array_equal(found[0].load(), gradient(8, 8))


def test_an_arrow_file_of_the_file_format_is_read_too(tmp_path: Path) -> None:
    table = images_table([png_bytes()], [1])
    with ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as file:
        file.write_table(table)
    (found,) = photographs(tmp_path / "a.arrow")
    assert (found.instance, found.load().shape) == ("dog", (48, 64, 3))


@pytest.mark.parametrize("name", FORMS)
def test_an_unusable_row_fails_alone_and_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "2000")
    rows = [png_bytes(gradient(8, 8)), None, b"text", bytes(2001), png_bytes(gradient(8, 8)), png_bytes(gradient(8, 8))]
    path = write_dataset_file(tmp_path / name, images_table(rows, [0, 0, 0, 0, None, -1]))
    found = photographs(path)
    assert found[0].load().shape == (8, 8, 3)
    expected: list[tuple[int, type[AffError], str]] = [
        (1, PhotographUnreadableError, "column image is empty"),
        (2, AffError, "image"),
        (3, ImageTooManyBytesError, "2,001 bytes"),
        (4, PhotographUnreadableError, "column label is empty"),
        (5, PhotographUnreadableError, "column label is empty"),
    ]
    for row, kind, words in expected:
        with pytest.raises(kind, match=words) as caught:
            found[row].load()
        assert caught.value.item == f"{name}/{row + 1}"


def test_an_image_can_be_a_path_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes())
    table = pa.table({"photo": pa.array([{"bytes": None, "path": "a.jpg"}], IMAGE)})
    (found,) = photographs(write_dataset_file(tmp_path / "list.parquet", table))
    assert found.load().shape == (48, 64, 3)
    assert found.instance == found.name == "list.parquet/1"  # no column of instances


def test_columns_are_found_by_type_and_name_or_chosen(tmp_path: Path) -> None:
    cells = pa.array([{"bytes": png_bytes(), "path": None}], IMAGE)
    columns: dict[str, Any] = {"left": cells, "right": cells, "place": ["Bern"], "label": [7], "tags": [[1, 2]]}
    path = write_dataset_file(tmp_path / "a.parquet", pa.table(columns))
    (found,) = photographs(path, image="left")
    assert found.instance == "7"
    assert photographs(path, image="left", instance="place")[0].instance == "Bern"
    for chosen, words in (
        ({}, "has no single column with images: left, right"),
        ({}, "choose one by `image` in a recipe"),
        ({"image": "place"}, "has no column place with images"),
        ({"image": "left", "instance": "tags"}, "column tags has several values per row"),
        ({"image": "left", "instance": "none"}, "has no column none: left, right, place, label, tags"),
    ):
        with pytest.raises(DatasetError, match=words):
            photographs(path, **chosen)


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
@pytest.mark.parametrize("name", FORMS)
def test_an_unreadable_file_is_reported(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        DataFile(tmp_path / name, name)
    assert caught.value.item == str(tmp_path / name)


@pytest.mark.parametrize("name", FORMS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """40 parts of 1 MB each: two are kept of a Parquet file, and an Arrow file is mapped."""
    random = np.random.default_rng(0)
    images = [random.bytes(2**18) for _ in range(160)]
    path = write_dataset_file(tmp_path / name, images_table(images, [0] * 160), rows_together=4)
    del images
    file = DataFile(path, name)
    gc.collect()
    before = pa.total_allocated_bytes()
    most = 0
    for row in range(160):
        assert len(file.value(row, "image")["bytes"]) == 2**18
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 6 * 2**20


def test_a_column_of_files_with_another_name_can_be_chosen(tmp_path: Path) -> None:
    path = write_dataset_file(tmp_path / "a.parquet", pa.table({"jpg": [jpeg_bytes()], "Label": ["x"]}))
    (found,) = photographs(path, image="jpg")
    assert (found.instance, found.load().shape) == ("x", (48, 64, 3))


def test_several_images_per_row_are_rejected(tmp_path: Path) -> None:
    cells = pa.array([[{"bytes": png_bytes(), "path": None}]], pa.list_(IMAGE))
    path = write_dataset_file(tmp_path / "a.parquet", pa.table({"images": cells}))
    with pytest.raises(DatasetError, match="column images has several images per row"):
        photographs(path)


def test_labels_that_are_not_one_value_per_row_are_not_instances(tmp_path: Path) -> None:
    table = pa.table({"image": [png_bytes()], "label": [[1, 2]]})
    (found,) = photographs(write_dataset_file(tmp_path / "a.parquet", table))
    assert found.instance == found.name


@pytest.mark.parametrize("labels", [[99, 1], [float("nan"), 1.0], ["bird", "dog"]])
def test_a_label_that_is_no_class_is_an_unusable_row(tmp_path: Path, labels: Any) -> None:
    table = images_table([png_bytes()] * 2, [0, 1]).set_column(1, "label", pa.array(labels))
    if isinstance(labels[0], float):
        table = table.replace_schema_metadata(None)
    first, second = photographs(write_dataset_file(tmp_path / "a.parquet", table))
    with pytest.raises(PhotographUnreadableError, match=f"column label has no class {labels[0]}"):
        first.load()
    assert second.instance in {"dog", "1.0"}


@pytest.mark.parametrize("other", [[{"dtype": "int32", "_type": "Value"}], {"num_classes": 2, "_type": "ClassLabel"}])
def test_features_of_other_forms_do_not_hide_the_names_of_classes(tmp_path: Path, other: Any) -> None:
    table = images_table([png_bytes()], [1])
    about = json.loads(table.schema.metadata[b"huggingface"])
    about["info"]["features"]["other"] = other
    table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    (found,) = photographs(write_dataset_file(tmp_path / "a.parquet", table))
    assert found.instance == "dog"


def test_all_files_or_none_have_instances(tmp_path: Path) -> None:
    table = images_table([png_bytes()], [1])
    paths = [
        write_dataset_file(tmp_path / "a.parquet", table),
        write_dataset_file(tmp_path / "b.parquet", table.drop_columns(["label"])),
    ]
    with pytest.raises(DatasetError, match="has no column of instances, and other files have one") as caught:
        dataset_photographs([DataFile(path, path.name) for path in paths], image=None, instance=None, min_side=None)
    assert caught.value.item == str(paths[1])


def test_two_row_groups_of_all_files_are_in_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 300, 3), np.uint8)
    table = images_table([png_bytes(noise)] * 8, [0] * 8)
    paths = [write_dataset_file(tmp_path / f"{n}.parquet", table, rows_together=4) for n in range(6)]
    found = dataset_photographs([DataFile(path, path.name) for path in paths], image=None, instance=None, min_side=None)
    before = pa.total_allocated_bytes()
    for one in found:
        one.load()
    group = 4 * len(png_bytes(noise))
    assert pa.total_allocated_bytes() - before < 3 * group  # of 12
