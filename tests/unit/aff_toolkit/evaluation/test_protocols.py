"""What a bundle is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aff_toolkit.evaluation.protocols import open_set_protocol, protocols_of_recipe, scenes_protocol
from aff_toolkit.scenes.splits import HELD_OUT
from aff_toolkit.training.recipe import TrainingRecipe
from tests.support.plain_photograph import plain_png
from tests.support.tiny_training import tiny_recipe


def with_open_set(directory: Path) -> TrainingRecipe:
    (directory / "a.png").write_bytes(plain_png((9, 9, 9)))
    rows = ["train,pear", "query,apple", "gallery,apple", "gallery,apple", "distractor,plum"]
    text = "".join(f"a.png,{instance},{role}\n" for role, instance in (row.split(",") for row in rows))
    (directory / "fruit.csv").write_text("path,instance,role\n" + text, encoding="utf-8")
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


def test_the_description_says_what_stands_beside_the_figures() -> None:
    protocol = scenes_protocol(instances=2, queries_each=1, gallery_each=3, distractors=4, difficulty=0.5)
    assert "2 landmarks x 1 queries and 3 gallery views, 4 distractors, difficulty 0.5" in protocol.description


def test_an_open_set_takes_each_row_by_its_role(tmp_path: Path) -> None:
    with_open_set(tmp_path)
    protocol = open_set_protocol(tmp_path / "fruit.csv")
    assert [photograph.instance for photograph in protocol.queries] == ["apple"]
    assert [photograph.instance for photograph in protocol.gallery] == ["apple", "apple", "plum"]
    assert "fruit.csv" in protocol.description


def test_a_recipe_is_measured_on_the_open_set_where_its_photographs_are_here(tmp_path: Path) -> None:
    assert [protocol.name for protocol in protocols_of_recipe(tiny_recipe())] == ["scenes"]
    recipe = with_open_set(tmp_path)
    assert [protocol.name for protocol in protocols_of_recipe(recipe)] == ["scenes", "open_set"]
    (tmp_path / "fruit.csv").unlink()
    assert [protocol.name for protocol in protocols_of_recipe(recipe)] == ["scenes"]
