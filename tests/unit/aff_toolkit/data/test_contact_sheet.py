"""Pictures of search results."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aff_toolkit.data.contact_sheet import Cell, contact_sheet

GREEN, RED, GREY, BLUE = (30, 160, 70), (210, 60, 50), (150, 150, 150), (70, 90, 200)


def plain(level: int) -> np.ndarray:
    return np.full((30, 60, 3), level, np.uint8)


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_right_hits_are_framed_green_and_wrong_ones_red() -> None:
    right, wrong = Cell(plain(10), "right", correct=True), Cell(plain(20), "wrong", correct=False)
    sheet = contact_sheet([(Cell(plain(30), "query"), [right, wrong, wrong])], "")
    assert count(sheet, RED) == 2 * count(sheet, GREEN) > 0
    assert count(sheet, BLUE) == count(sheet, GREEN)


def test_a_hit_whose_truth_is_not_known_is_framed_grey() -> None:
    sheet = contact_sheet([(Cell(plain(30), "query"), [Cell(plain(10), "hit")])], "title")
    assert count(sheet, GREY) == count(sheet, BLUE) > 0


def test_every_picture_fills_its_frame() -> None:
    sheet = contact_sheet([(Cell(plain(31), ""), [Cell(plain(11), "")])], "")
    assert count(sheet, (31, 31, 31)) == count(sheet, (11, 11, 11)) == 140 * 140


def test_a_cell_without_a_picture_stays_empty() -> None:
    empty = contact_sheet([(Cell(None, ""), [])], "")
    assert count(empty, BLUE) > 0
    assert count(empty, BLUE) + count(empty, (250, 250, 250)) == empty.width * empty.height


def test_a_row_per_query_makes_the_sheet_taller_and_more_hits_make_it_wider() -> None:
    query, hit = Cell(plain(30), "query"), Cell(plain(10), "hit")
    one = contact_sheet([(query, [hit])], "")
    two = contact_sheet([(query, [hit]), (query, [hit, hit])], "")
    assert two.height > one.height
    assert two.width > one.width


def test_a_long_label_ends_before_the_next_cell() -> None:
    short = contact_sheet([(Cell(None, "x" * 500), []), (Cell(None, ""), [])], "")
    beside = np.asarray(short)[:, 160:]
    assert (beside == 250).all()
