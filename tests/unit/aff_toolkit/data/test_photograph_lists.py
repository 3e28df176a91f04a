"""Photographs that a CSV lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_shared.errors import AffError
from aff_toolkit.data.photograph_lists import csv_photographs, gldv2_photographs, listed_rows
from aff_toolkit.errors import PhotographListError
from tests.support.plain_photograph import plain_png

COLOURS = {"red.png": (200, 0, 0), "green.png": (0, 200, 0), "blue.png": (0, 0, 200)}


def write_csv(directory: Path, text: str) -> Path:
    (directory / "images").mkdir()
    for name, colour in COLOURS.items():
        (directory / "images" / name).write_bytes(plain_png(colour))
    path = directory / "set.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_the_requested_roles_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    csv = write_csv(
        tmp_path,
        "role,instance,path,note\n"
        "gallery,pear,images/green.png,a\n"
        "train,pear,images/red.png,b\n"
        "query,apple,images/red.png,c\n"
        "distractor,plum,images/blue.png,d\n",
    )
    found = csv_photographs(csv, ["distractor", "gallery"])
    assert [photograph.instance for photograph in found] == ["pear", "plum"]
    assert [tuple(photograph.load()[0, 0]) for photograph in found] == [COLOURS["green.png"], COLOURS["blue.png"]]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,label\nimages/red.png,apple\n")
    with pytest.raises(PhotographListError, match="no column instance, role") as caught:
        csv_photographs(csv, ["train"])
    assert caught.value.item == str(csv)


def test_where_every_row_is_taken_no_role_is_requested(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,label\nimages/red.png,apple\n")
    with pytest.raises(PhotographListError, match=r"no column instance: .*; needed are path, instance$"):
        csv_photographs(csv, None)


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(PhotographListError, match="no line with the names of the columns"):
        csv_photographs(write_csv(tmp_path, ""), ["train"])


def test_a_missing_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotographListError, match="cannot be read") as caught:
        csv_photographs(tmp_path / "none.csv", ["train"])
    assert caught.value.item == str(tmp_path / "none.csv")


def test_a_listed_file_that_is_missing_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,role\nimages/gone.png,apple,train\n")
    (photograph,) = csv_photographs(csv, ["train"])
    with pytest.raises(AffError) as caught:
        photograph.load()
    assert str(caught.value.item).endswith("gone.png")


def test_further_columns_become_the_payload_and_the_path_is_the_name(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,split,note\nimages/red.png,apple,train,ripe\n")
    (photograph,) = csv_photographs(csv, ["train"])
    assert photograph.name == "images/red.png"
    assert dict(photograph.payload) == {"note": "ripe"}


def test_a_row_with_too_few_columns_is_named_by_its_line(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,role\nimages/red.png,apple,train\nimages/blue.png,plum\n")
    with pytest.raises(PhotographListError, match="line 3 has 2 columns"):
        csv_photographs(csv, ["train"])


def test_no_row_of_the_requested_role_is_reported(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,role\nimages/red.png,apple,train\n")
    with pytest.raises(PhotographListError, match="no rows of role query"):
        csv_photographs(csv, ["query"])


@pytest.mark.parametrize("row", [",apple,query", "images/red.png,,query"])
def test_a_row_of_the_requested_role_without_path_or_instance_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    csv = write_csv(tmp_path, f"path,instance,role\nimages/red.png,apple,train\n{row}\n")
    with pytest.raises(PhotographListError, match="line 3 has no path or no instance"):
        csv_photographs(csv, ["query"])


def test_a_row_of_another_role_needs_no_instance(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,role\nimages/red.png,,train\nimages/blue.png,plum,query\n")
    assert [photograph.instance for photograph in csv_photographs(csv, ["query"])] == ["plum"]


def test_a_repeated_path_is_named_with_its_line(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance\nimages/red.png,apple\nimages/red.png,pear\n")
    assert [photograph.name for photograph in csv_photographs(csv, None)] == [
        "images/red.png",
        "images/red.png (line 3)",
    ]


def test_rows_have_their_lines_roles_and_other_columns(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,note,instance,role\na.png,ripe,apple,query\n\nb.png,,plum,gallery\n")
    rows = list(listed_rows(csv, ["gallery", "query"]))
    assert [(row.line, row.path, row.instance, row.role, dict(row.payload)) for row in rows] == [
        (2, "a.png", "apple", "query", {"note": "ripe"}),
        (4, "b.png", "plum", "gallery", {"note": ""}),
    ]
    assert list(listed_rows(csv, ["train"])) == []


@pytest.mark.parametrize(
    "data",
    [
        "Path;Instance;Role;Größe, cm\nimages\\red.png;apple;train;1,5\n".encode("utf-16"),
        "\ufefffile_name\tinstance\tsplit\tGröße, cm\nimages/red.png\tapple\ttrain\t1,5\n".encode(),
        'path, instance, role, "Größe, cm"\nimages/red.png, apple, train, "1,5"\n'.encode(),
    ],
)
def test_a_list_may_have_any_form_that_spreadsheets_and_programs_write(tmp_path: Path, data: bytes) -> None:
    csv = write_csv(tmp_path, "")
    csv.write_bytes(data)
    (photograph,) = csv_photographs(csv, ["train"])
    assert (photograph.instance, dict(photograph.payload)) == ("apple", {"Größe, cm": "1,5"})
    assert tuple(photograph.load()[0, 0]) == COLOURS["red.png"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("path,instance\na.png,Köln\n".encode("cp1252"), r"line 2: column instance: 'K\\xf6ln' is not UTF-8; save"),
        (b"path,instance\na.png,plum, ripe\n", "line 2: has 3 cells below 2 headings"),
        (b'path,instance\na.png,"plum\nb.png,pear\n', "line 3: a quote that opens in line 2 or below does not close"),
        (b"path,instance,instance\na.png,plum,pear\n", "two columns are named instance"),
    ],
)
def test_a_list_that_cannot_be_read_is_reported_with_line_and_column(tmp_path: Path, data: bytes, words: str) -> None:
    csv = write_csv(tmp_path, "")
    csv.write_bytes(data)
    with pytest.raises(PhotographListError, match=words) as caught:
        csv_photographs(csv, None)
    assert caught.value.item == str(csv)


def test_cells_of_the_payload_may_be_missing_at_the_end_of_a_row(tmp_path: Path) -> None:
    csv = write_csv(tmp_path, "path,instance,note\nimages/red.png,apple\n")
    (photograph,) = csv_photographs(csv, None)
    assert dict(photograph.payload) == {"note": ""}


def listed(directory: Path, text: str) -> Path:
    path = directory / "train_clean.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_lead_to_the_files_of_the_tree(tmp_path: Path) -> None:
    image = tmp_path / "train" / "1" / "7" / "6" / "17660ef415d37059.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(plain_png((0, 200, 0)))
    csv = listed(tmp_path, "landmark_id,images\n1,17660ef415d37059 92b6290d571448f6\n7,cd41bf948edc0340\n")
    found = gldv2_photographs(csv, tmp_path / "train")
    assert [(photograph.instance, photograph.name) for photograph in found] == [
        ("1", "1/7/6/17660ef415d37059.jpg"),
        ("1", "9/2/b/92b6290d571448f6.jpg"),
        ("7", "c/d/4/cd41bf948edc0340.jpg"),
    ]
    assert tuple(found[0].load()[0, 0]) == (0, 200, 0)


def test_a_landmark_with_more_images_than_a_csv_field_may_hold_is_read(tmp_path: Path) -> None:
    ids = " ".join(f"{number:016x}" for number in range(10_000))
    found = gldv2_photographs(listed(tmp_path, f"landmark_id,images\n5,{ids}\n"), tmp_path)
    assert len(found) == 10_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,url\n1,a\n", "the first line is 'id,url'"),
        ("landmark_id,images\n1,abcdef ../../etc\n", "line 2: '../../etc' is not the id"),
        ("landmark_id,images\n1,abcdef\n2,\n", "line 3: no landmark or no images"),
        ("landmark_id,images\n", "no rows"),
    ],
)
def test_what_is_not_of_the_official_form_is_reported(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PhotographListError) as caught:
        gldv2_photographs(listed(tmp_path, text), tmp_path)
    assert words in caught.value.detail


def test_a_missing_list_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PhotographListError, match="cannot be read"):
        gldv2_photographs(tmp_path / "none.csv", tmp_path)
