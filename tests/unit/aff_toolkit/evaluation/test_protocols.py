"""What a bundle is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aff_toolkit.data.scenes import HELD_OUT
from aff_toolkit.errors import NothingToScoreError
from aff_toolkit.evaluation.protocols import open_set_protocol, scenes_protocol
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
