"""The photographs that are held out, and the queries for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_source import CsvSource
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.errors import TooFewImagesError
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.held_out import (
    TrainingPhotographs,
    choose_held_out,
    labelled_protocol,
    neighbours_protocol,
    protocol_of_labels,
    split_queries,
)
from tests.support.images import jpeg_bytes
from tests.support.plain_photograph import plain_png
from tests.support.tiny_training import tiny_recipe


def photograph(name: str, instance: str) -> Photograph:
    return Photograph(name, instance, lambda: np.full((40, 60, 3), 100, np.uint8))


def test_a_share_of_the_instances_is_held_out_each_once() -> None:
    instances = [str(number // 3) for number in range(300)]
    chosen = choose_held_out(instances, 0.1, seed=1)
    assert len(chosen) == 10
    assert chosen < set(instances)
    assert chosen == choose_held_out(instances, 0.1, seed=1)
    assert chosen != choose_held_out(instances, 0.1, seed=2)


def test_of_few_instances_five_are_held_out_but_never_above_a_quarter() -> None:
    assert len(choose_held_out([str(n) for n in range(30)], 0.1, seed=1)) == 5
    assert len(choose_held_out([str(n) for n in range(8)], 0.1, seed=1)) == 2
    assert len(choose_held_out(["a", "b", "c"], 0.1, seed=1)) == 0


def test_of_few_instances_more_are_held_out_where_a_larger_share_is_allowed() -> None:
    assert len(choose_held_out([str(n) for n in range(10)], 0.1, seed=1, largest_share=0.5)) == 5
    assert len(choose_held_out([str(n) for n in range(8)], 0.1, seed=1, largest_share=0.5)) == 4


def test_of_very_many_instances_five_hundred_are_held_out_and_for_a_share_of_0_none() -> None:
    instances = [str(n) for n in range(8000)]
    assert len(choose_held_out(instances, 0.1, seed=1)) == 500
    assert choose_held_out(instances, 0.0, seed=1) == frozenset()


def test_the_first_half_of_each_instance_searches_for_the_other() -> None:
    queries = split_queries(["a", "b", "a", "a", "b", "c"])
    assert queries.tolist() == [True, True, False, False, False, False]


def test_each_labelled_photograph_searches_for_the_others_of_its_instance() -> None:
    shown = [photograph(f"{instance}{n}", instance) for instance in "ab" for n in range(2)] + [photograph("c0", "c")]
    trained_on = [photograph("d0", "d"), photograph("d1", "d")]
    protocol = labelled_protocol(shown, "held_out", "two things", trained_on)
    assert [query.name for query in protocol.queries] == ["a0", "a1", "b0", "b1"]
    assert [found.name for found in protocol.gallery] == ["a0", "a1", "b0", "b1", "c0", "d0", "d1"]
    relevance = protocol.relevance()
    assert [rows.tolist() for rows in relevance.relevant] == [[1], [0], [3], [2]]
    assert [rows.tolist() for rows in relevance.ignored] == [[0], [1], [2], [3]]
    assert "each of 4 photographs against the other 4 and 2 photographs that were trained on" in protocol.description


def test_of_many_photographs_that_were_trained_on_some_from_everywhere_are_in_the_gallery() -> None:
    shown = [photograph("a0", "a"), photograph("a1", "a")]
    trained_on = [photograph(str(n), str(n)) for n in range(2500)]
    names = [found.name for found in labelled_protocol(shown, "held_out", "one thing", trained_on).gallery[2:]]
    assert len(names) == 834
    assert (names[0], names[-1]) == ("0", "2499")


def test_without_labels_an_augmented_version_searches_for_what_resembles_the_photograph() -> None:
    held_out, others = [photograph("x", "x"), photograph("y", "y")], [photograph("z", "z")]
    protocol = neighbours_protocol(held_out, others, seed=3)
    assert [query.instance for query in protocol.queries] == ["x", "y"]
    assert [found.instance for found in protocol.gallery] == ["x", "y", "z"]
    relevance = protocol.relevance(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    assert [rows.tolist() for rows in relevance.relevant] == [[2], [2]]
    assert [rows.tolist() for rows in relevance.ignored] == [[0], [1]]
    first, second = (query.load() for query in protocol.queries)
    assert first.shape == (256, 256, 3)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, protocol.queries[0].load())
    assert "without labels" in protocol.description


def test_labels_of_one_photograph_each_are_rejected_before_anything_is_trained(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,instance\na.jpg,pear\nb.jpg,fig\n", encoding="utf-8")
    with pytest.raises(TooFewImagesError, match="use the same instance for photographs of one thing"):
        protocol_of_labels(labels)


def test_with_roles_the_queries_search_and_without_them_each_photograph(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes())
    plain, roles = tmp_path / "plain.csv", tmp_path / "roles.csv"
    plain.write_text("path,instance\na.jpg,pear\na.jpg,pear\na.jpg,fig\n", encoding="utf-8")
    roles.write_text(
        "path,instance,role\na.jpg,pear,query\nb.jpg,pear,gallery\nc.jpg,fig,distractor\n", encoding="utf-8"
    )
    for path, name, queries in ((plain, "labels", ["pear", "pear"]), (roles, "open_set", ["pear"])):
        protocol = protocol_of_labels(path)
        assert protocol.name == name
        assert [query.instance for query in protocol.queries] == queries
        assert [found.instance for found in protocol.gallery] == [*queries[1:], "pear", "fig"]


ALONE, PAIRS = 40, 8


def recipe(directory: Path, single_photographs: str, held_out_share: float) -> TrainingRecipe:
    """List 40 photographs without a partner and 8 pairs; set how the recipe treats them."""
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


def test_instances_of_one_photograph_are_kept_if_the_recipe_does(tmp_path: Path) -> None:
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
