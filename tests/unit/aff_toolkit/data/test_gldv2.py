"""The official list of Google Landmarks v2, clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.gldv2 import gldv2_photographs
from aff_toolkit.errors import PhotographListError
from tests.support.plain_photograph import plain_png


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
