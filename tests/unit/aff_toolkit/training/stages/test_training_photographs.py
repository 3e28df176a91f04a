"""Photographs that the joint training sees, and those that the finished bundle is judged by."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aff_toolkit.data.photograph_source import CsvSource
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe
from aff_toolkit.training.stages.training_photographs import TrainingPhotographs
from tests.support.plain_photograph import plain_png
from tests.support.tiny_training import tiny_recipe

ALONE, PAIRS = 40, 8


def recipe(directory: Path, single_photographs: str, held_out_share: float) -> TrainingRecipe:
    """List 40 photographs that stand alone and 8 pairs; set how the recipe treats them."""
    (directory / "a.png").write_bytes(plain_png((9, 99, 9)))
    shown = [""] * ALONE + [f"pair-{n // 2}" for n in range(2 * PAIRS)]
    rows = "".join(f"a.png,{instance},train\n" for instance in shown)
    (directory / "list.csv").write_text("path,instance,role\n" + rows, encoding="utf-8")
    source = TrainingSource(photographs=CsvSource(path=directory / "list.csv", alone=True))
    tiny = tiny_recipe()
    joint = tiny.joint.model_copy(update={"sources": (source,), "single_photographs": single_photographs})
    evaluation = tiny.evaluation.model_copy(update={"held_out_share": held_out_share})
    return tiny.model_copy(update={"joint": joint, "evaluation": evaluation})


def test_instances_of_one_photograph_are_left_out_and_named(tmp_path: Path) -> None:
    found = TrainingPhotographs.of_recipe(recipe(tmp_path, "leave_out", 0.0), min_side=8)
    assert Counter(photograph.instance for photograph in found.trained_on) == {f"pair-{n}": 2 for n in range(PAIRS)}
    assert len(found.single) == ALONE


def test_instances_of_one_photograph_are_kept_where_the_recipe_says_so(tmp_path: Path) -> None:
    found = TrainingPhotographs.of_recipe(recipe(tmp_path, "keep", 0.0), min_side=8)
    instances = Counter(photograph.instance for photograph in found.trained_on)
    assert len(instances) == ALONE + PAIRS
    assert instances["a.png"] == 1
    assert instances["pair-0"] == 2
    assert found.single == []


def test_instances_of_one_photograph_that_are_kept_are_not_held_out(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, "keep", 0.25)
    found = TrainingPhotographs.of_recipe(chosen, min_side=8)
    protocol = found.protocol(chosen.seed, unreadable=())
    assert protocol is not None
    assert [query.instance for query in protocol.queries] == [photograph.instance for photograph in found.held_out]
    assert len(protocol.queries) == 2 * 4
    assert all(photograph.instance.startswith("pair") for photograph in found.held_out)


def test_photographs_that_cannot_be_read_are_not_held_out_and_their_reasons_are_kept(tmp_path: Path) -> None:
    chosen = recipe(tmp_path, "leave_out", 0.5)
    held_out = TrainingPhotographs.of_recipe(chosen, min_side=8).held_out
    assert len(held_out) == 2 * 4
    (tmp_path / "broken.png").write_bytes(plain_png((9, 99, 9))[:40])
    first = f"a.png,{held_out[0].instance},train\n"
    listed = (tmp_path / "list.csv").read_text(encoding="utf-8")
    (tmp_path / "list.csv").write_text(listed.replace(first, first.replace("a.png", "broken.png"), 1), encoding="utf-8")
    found = TrainingPhotographs.of_recipe(chosen, min_side=8)
    assert len(found.held_out) == 2 * 4 - 1
    (reason,) = found.unreadable
    assert reason.startswith("broken.png: ")
