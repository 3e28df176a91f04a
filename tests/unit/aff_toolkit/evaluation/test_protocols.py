"""Photographs and questions on which a bundle is measured."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aff_shared.errors import InvalidParameterError
from aff_toolkit.data.scenes import HELD_OUT
from aff_toolkit.errors import NothingToScoreError, PhotographListError, ProtocolNotWrittenError
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
from aff_toolkit.evaluation.protocols import (
    ProtocolRow,
    frames_protocol,
    open_set_protocol,
    scenes_protocol,
    write_protocol,
)
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe
from tests.support.tiny_training import tiny_recipe


def with_open_set(directory: Path) -> TrainingRecipe:
    rows = ["train,pear", "query,apple", "gallery,apple", "gallery,apple", "distractor,plum"]
    text = "".join(f"{number}.png,{row}\n" for number, row in enumerate(rows))
    (directory / "fruit.csv").write_text("path,role,instance\n" + text, encoding="utf-8")
    recipe = tiny_recipe()
    evaluation = recipe.evaluation.model_copy(update={"open_sets": (directory / "fruit.csv",)})
    return recipe.model_copy(update={"evaluation": evaluation})


def test_scenes_are_held_out_queries_and_gallery_with_distractors() -> None:
    protocol = scenes_protocol(instances=2, queries_each=1, gallery_each=2, distractors=2, difficulty=0.3)
    first, second, *others = (f"scene-{HELD_OUT + i}" for i in range(4))
    assert [photograph.instance for photograph in protocol.queries] == [first, second]
    assert [photograph.instance for photograph in protocol.gallery] == [first, first, second, second, *others]


def test_no_photograph_is_both_a_query_and_in_the_gallery() -> None:
    protocol = scenes_protocol(instances=3, queries_each=2, gallery_each=2, distractors=0, difficulty=0.3)
    gallery = [photograph.load() for photograph in protocol.gallery]
    for query in protocol.queries:
        assert not any(np.array_equal(query.load(), image) for image in gallery)


def test_the_description_states_the_conditions_of_the_figures() -> None:
    protocol = scenes_protocol(instances=2, queries_each=1, gallery_each=3, distractors=4, difficulty=0.5)
    assert "2 landmarks x 1 queries and 3 gallery views, 4 distractors, difficulty 0.5" in protocol.description


def test_an_open_set_takes_each_row_by_its_role(tmp_path: Path) -> None:
    with_open_set(tmp_path)
    protocol = open_set_protocol(tmp_path / "fruit.csv")
    assert [photograph.instance for photograph in protocol.queries] == ["apple"]
    assert [photograph.instance for photograph in protocol.gallery] == ["apple", "apple", "plum"]
    assert "fruit.csv" in protocol.description


def test_an_open_set_has_the_positives_and_the_junk_that_its_file_lists(tmp_path: Path) -> None:
    rows = ["q.png,walk,query,b.png,a.png", "a.png,walk,gallery,,", "b.png,walk,gallery,,", "j.png,walk,junk,,"]
    (tmp_path / "walk.csv").write_text("path,instance,role,positives,junk\n" + "\n".join(rows), encoding="utf-8")
    protocol = open_set_protocol(tmp_path / "walk.csv")
    relevance = protocol.relevance()
    assert [photograph.name for photograph in protocol.gallery] == ["a.png", "b.png", "j.png"]
    assert ([rows.tolist() for rows in relevance.relevant], [rows.tolist() for rows in relevance.ignored]) == (
        [[1]],
        [[0, 2]],
    )
    assert "positives and junk as the file lists them" in protocol.description


def test_an_open_set_in_which_nothing_can_be_found_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "fruit.csv"
    path.write_text("path,instance,role\nq.png,apple,query\na.png,plum,gallery\n", encoding="utf-8")
    with pytest.raises(NothingToScoreError, match="no query has a positive") as caught:
        open_set_protocol(path)
    assert caught.value.item == str(path)


def test_several_open_sets_of_a_recipe_are_distinguished_by_their_files(tmp_path: Path) -> None:
    recipe = with_open_set(tmp_path)
    (path,) = recipe.evaluation.open_sets
    paths = (path, tmp_path / "a" / "walk.csv", tmp_path / "b" / "walk.csv")
    for other in paths[1:]:
        other.parent.mkdir()
        other.write_text("path,instance,role\nq.png,x,query\na.png,x,gallery\n", encoding="utf-8")
    evaluation = recipe.evaluation.model_copy(update={"open_sets": paths})
    protocols = protocols_of_recipe(recipe.model_copy(update={"evaluation": evaluation}))
    assert [protocol.name for protocol in protocols] == ["scenes", "fruit", "a_walk", "b_walk"]


def test_a_recipe_is_measured_on_the_open_set_where_its_photographs_are_here(tmp_path: Path) -> None:
    assert [protocol.name for protocol in protocols_of_recipe(tiny_recipe())] == ["scenes"]
    recipe = with_open_set(tmp_path)
    assert [protocol.name for protocol in protocols_of_recipe(recipe)] == ["scenes", "open_set"]
    (tmp_path / "fruit.csv").unlink()
    assert [protocol.name for protocol in protocols_of_recipe(recipe)] == ["scenes"]


PHOTOS_CSV = Path(__file__).parents[5] / "shared" / "data" / "photos" / "photos.csv"


def write_frames(directory: Path, *rows: str, columns: str = "path,instance,frame,role") -> Path:
    path = directory / "photos.csv"
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def protocol_of(
    path: Path, *, role: str | None = "dev", query_every: int = 3, positive_within: float = 2, junk_within: float = 5
) -> list[ProtocolRow]:
    return frames_protocol(
        path, role=role, query_every=query_every, positive_within=positive_within, junk_within=junk_within
    )


def test_every_third_frame_of_the_role_is_a_query_and_its_neighbours_in_time_are_positives_then_junk(
    tmp_path: Path,
) -> None:
    walk = [f"a{second}.png,a,{second},dev" for second in range(1, 10)]
    path = write_frames(tmp_path, "x.png,,,train", *walk, "b1.png,b,4,dev", "b2.png,b,9,dev")
    rows = protocol_of(path)
    queries = {row.path: (row.positives, row.junk) for row in rows if row.role == "query"}
    # The gallery of walk a are the seconds 2, 3, 5, 6, 8, 9.
    assert queries == {
        "a1.png": (("a2.png", "a3.png"), ("a5.png", "a6.png")),
        "a4.png": (("a2.png", "a3.png", "a5.png", "a6.png"), ("a8.png", "a9.png")),
        "a7.png": (("a5.png", "a6.png", "a8.png", "a9.png"), ("a2.png", "a3.png")),
        "b1.png": ((), ("b2.png",)),
    }
    gallery = [row.path for row in rows if row.role == "gallery"]
    assert gallery == ["a2.png", "a3.png", "a5.png", "a6.png", "a8.png", "a9.png", "b2.png"]


def test_frames_need_be_no_whole_numbers_nor_in_order(tmp_path: Path) -> None:
    rows = ["q.png,a,1.5", "far.png,a,2.8", "near.png,a,1.25", "other.png,a,9"]
    path = write_frames(tmp_path, *rows, columns="path,instance,frame")
    query, *gallery = protocol_of(path, role=None, query_every=4, positive_within=0.25, junk_within=1.3)
    assert (query.positives, query.junk) == (("near.png",), ("far.png",))
    assert {row.role for row in gallery} == {"gallery"}


def test_the_file_is_one_that_aff_evaluate_takes_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    path = write_frames(tmp_path / "photos", *(f"walk/a{second}.png,a,{second},dev" for second in range(6)))
    out = tmp_path / "lists" / "walks.csv"
    write_protocol(protocol_of(path, junk_within=4), path.parent, out)
    with out.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        "path": "../photos/walk/a0.png",
        "instance": "a",
        "role": "query",
        "positives": "../photos/walk/a1.png;../photos/walk/a2.png",
        "junk": "../photos/walk/a4.png",
    }
    (judged,) = BenchmarkChoice(name="csv", path=out).open().judgements
    assert [one.tolist() for one in judged.relevant] == [[0, 1], [0, 1, 2, 3]]
    assert [one.tolist() for one in judged.ignored] == [[2], []]


@pytest.mark.parametrize(
    ("row", "columns", "words"),
    [
        ("a.png,a,dev", "path,instance,role", "no column frame"),
        ("a.png,a,soon,dev", "path,instance,frame,role", "line 2: the frame 'soon' is not a number"),
        ("a.png,a,nan,dev", "path,instance,frame,role", "line 2: the frame 'nan' is not a number"),
        ("a;b.png,a,1,dev", "path,instance,frame,role", r"line 2: the path 'a;b\.png' contains ';'"),
        ("a.png,a,1,train", "path,instance,frame,role", "no rows of role dev"),
    ],
)
def test_a_list_that_cannot_be_used_is_rejected(tmp_path: Path, row: str, columns: str, words: str) -> None:
    path = write_frames(tmp_path, row, columns=columns)
    with pytest.raises(PhotographListError, match=words) as caught:
        protocol_of(path)
    assert caught.value.item == str(path)


def test_junk_is_beyond_the_positives(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="is 1, less than the 2") as caught:
        protocol_of(write_frames(tmp_path, "a.png,a,1,dev"), junk_within=1)
    assert caught.value.item == "junk_within"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProtocolNotWrittenError) as caught:
        write_protocol([], tmp_path, tmp_path)
    assert caught.value.item == str(tmp_path)


@pytest.mark.skipif(not PHOTOS_CSV.exists(), reason="shared/data/photos is not there")
def test_the_walks_of_the_tower_become_its_protocol() -> None:
    with PHOTOS_CSV.open(encoding="utf-8") as stream:
        dev = [row for row in csv.DictReader(stream) if row["role"] == "dev"]
    rows = protocol_of(PHOTOS_CSV)
    queries = [row for row in rows if row.role == "query"]
    assert (len(rows), len(queries)) == (730, 244)
    frame_of = {row["path"]: int(row["frame"]) for row in dev}
    searched = [row for number, row in enumerate(dev) if number % 3]
    for query in queries:
        apart = {
            row["path"]: abs(int(row["frame"]) - frame_of[query.path])
            for row in searched
            if row["instance"] == query.instance
        }
        assert set(query.positives) == {path for path, seconds in apart.items() if seconds <= 2}
        assert set(query.junk) == {path for path, seconds in apart.items() if 3 <= seconds <= 5}
