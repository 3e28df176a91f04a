"""Relevant images by instances."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.errors import GroundTruthError
from aff_toolkit.evaluation.relevance import (
    Relevance,
    leave_one_out,
    listed_relevance,
    relevance_of_instances,
    rows_by_instance,
)


def test_gallery_images_of_the_querys_instance_are_its_positives_and_nothing_is_junk() -> None:
    found = relevance_of_instances(["apple", "fig", "pear"], ["pear", "apple", "plum", "apple"])
    assert [rows.tolist() for rows in found.relevant] == [[1, 3], [], [0]]
    assert [rows.tolist() for rows in found.ignored] == [[], [], []]


def test_rows_are_in_ascending_order_each_once() -> None:
    found = Relevance.of([[4, 1, 4], []], [{3, 2}, {0}])
    assert [rows.tolist() for rows in found.relevant] == [[1, 4], []]
    assert [rows.tolist() for rows in found.ignored] == [[2, 3], [0]]
    assert rows_by_instance(["b", "a", "b"]) == {"b": [0, 2], "a": [1]}


def test_each_photograph_that_has_others_of_its_instance_is_left_out_of_the_gallery_once() -> None:
    requested, listed = leave_one_out(["fig", "pear", "fig", "fig"])
    assert requested == [0, 2, 3]
    assert [rows.tolist() for rows in listed.relevant] == [[2, 3], [0, 3], [0, 2]]
    assert [rows.tolist() for rows in listed.ignored] == [[0], [2], [3]]


def write(directory: Path, *rows: str, columns: str = "path,instance,role,positives,junk") -> Path:
    path = directory / "list.csv"
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def listed(path: Path) -> tuple[list[list[int]], list[list[int]]]:
    relevance = listed_relevance(path)
    assert relevance is not None
    return [rows.tolist() for rows in relevance.relevant], [rows.tolist() for rows in relevance.ignored]


def rejected(path: Path) -> str:
    with pytest.raises(GroundTruthError) as caught:
        listed_relevance(path)
    assert caught.value.item == str(path)
    return caught.value.detail


def test_a_query_has_the_positives_and_the_junk_that_it_lists_and_its_instance_is_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "q.png,walk,query,b.png; a.png,c.png",
        "a.png,walk,gallery,,",
        "b.png,other,gallery,,",
        "c.png,walk,gallery,,",
        "d.png,walk,gallery,,",
    )
    assert listed(path) == ([[0, 1]], [[2]])


def test_a_query_that_lists_no_positives_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, "q.png,walk,query,,", "r.png,walk,query,a.png,", "a.png,walk,gallery,,")
    assert listed(path) == ([[], [0]], [[], []])


def test_without_the_column_positives_those_of_the_instance_count_but_for_the_junk(tmp_path: Path) -> None:
    rows = ["q.png,walk,query,b.png", "a.png,walk,gallery,", "b.png,walk,gallery,", "c.png,walk,distractor,"]
    path = write(tmp_path, *rows, columns="path,instance,role,junk")
    assert listed(path) == ([[0, 2]], [[1]])


def test_an_image_of_the_role_junk_is_ignored_for_every_query_of_its_instance(tmp_path: Path) -> None:
    rows = ["p.png,pear,query", "q.png,pear,query", "r.png,fig,query", "a.png,pear,junk", "b.png,pear,gallery"]
    path = write(tmp_path, *rows, "c.png,fig,gallery", columns="path,instance,role")
    assert listed(path) == ([[1], [1], [2]], [[0], [0], []])


def test_a_query_whose_photograph_is_in_the_gallery_too_is_taken_out_of_its_ranking(tmp_path: Path) -> None:
    names = ("a.png", "b.png")
    rows = [f"{name},pear,{role}" for role in ("query", "gallery") for name in names]
    path = write(tmp_path, *rows, columns="path,instance,role")
    assert listed(path) == ([[1], [0]], [[0], [1]])


def test_a_name_selects_every_row_of_the_gallery_with_that_path(tmp_path: Path) -> None:
    path = write(tmp_path, "q.png,x,query,a.png,", "a.png,x,gallery,,", "b.png,x,gallery,,", "a.png,y,gallery,,")
    assert listed(path) == ([[0, 2]], [[]])


def test_rows_of_other_roles_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, "t.png,x,train,,", "a.png,x,gallery,,", "q.png,x,query,a.png,", "u.png,x,train,q.png,")
    assert listed(path) == ([[0]], [[]])


def test_where_equal_instances_are_all_that_counts_nothing_is_listed(tmp_path: Path) -> None:
    assert listed_relevance(write(tmp_path, "q.png,x,query", "a.png,x,gallery", columns="path,instance,role")) is None


def test_an_empty_column_of_junk_changes_nothing(tmp_path: Path) -> None:
    rows = ["q.png,x,query, ; ", "a.png,x,gallery,"]
    assert listed_relevance(write(tmp_path, *rows, columns="path,instance,role,junk")) is None


@pytest.mark.parametrize(("cells", "kind"), [("z.png,", "positive"), (",z.png", "junk"), ("r.png,", "positive")])
def test_a_name_that_is_not_in_the_gallery_is_an_error_of_its_row(tmp_path: Path, cells: str, kind: str) -> None:
    path = write(tmp_path, "a.png,x,gallery,,", f"q.png,x,query,{cells}", "r.png,x,query,a.png,")
    name = cells.strip(",")
    assert rejected(path) == f"line 3 (q.png) lists '{name}' as {kind}, which is not in the gallery"


def test_an_image_that_is_both_positive_and_junk_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "q.png,x,query,a.png,a.png;b.png", "a.png,x,gallery,,", "b.png,x,gallery,,")
    assert rejected(path) == "line 2 (q.png) has 'a.png' both as positive and as junk"
    path = write(tmp_path, "q.png,x,query,a.png;b.png,", "a.png,x,gallery,,", "b.png,x,junk,,")
    assert rejected(path) == "line 2 (q.png) has 'b.png' both as positive and as junk"


def test_a_query_that_is_its_own_positive_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png,x,query,a.png,", "a.png,x,gallery,,")
    assert rejected(path) == "line 2 (a.png) lists itself as positive"


def test_a_gallery_image_that_lists_anything_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "q.png,x,query,a.png,", "a.png,x,distractor,,q.png")
    assert rejected(path) == "line 3 (a.png) has the role distractor and lists junk; queries alone do"


@pytest.mark.parametrize("roles", [("gallery", "junk"), ("junk", "distractor")])
def test_a_path_with_the_role_junk_and_another_one_is_an_error(tmp_path: Path, roles: tuple[str, str]) -> None:
    rows = ["q.png,x,query", *(f"a.png,x,{role}" for role in roles)]
    path = write(tmp_path, *rows, columns="path,instance,role")
    line = 3 + roles.index("junk")
    assert rejected(path).startswith(f"line {line} (a.png) has the role junk, and another row has the same path")
