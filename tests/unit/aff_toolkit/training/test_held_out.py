"""Which photographs are held out, and what they are asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.source_errors import TooFewImagesError
from aff_toolkit.training.held_out import (
    augmented_protocol,
    choose_held_out,
    labelled_protocol,
    protocol_of_labels,
    split_queries,
)
from tests.support.images import jpeg_bytes


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


def test_of_very_many_instances_five_hundred_are_held_out_and_of_none_wanted_none() -> None:
    instances = [str(n) for n in range(8000)]
    assert len(choose_held_out(instances, 0.1, seed=1)) == 500
    assert choose_held_out(instances, 0.0, seed=1) == frozenset()


def test_the_first_half_of_each_instance_searches_for_the_other() -> None:
    queries = split_queries(["a", "b", "a", "a", "b", "c"])
    assert queries.tolist() == [True, True, False, False, False, False]


def test_labelled_photographs_search_for_others_of_their_instance() -> None:
    shown = [photograph(f"{instance}{n}", instance) for instance in "ab" for n in range(3)] + [photograph("c0", "c")]
    protocol = labelled_protocol(shown, "held_out", "two things")
    assert [query.name for query in protocol.queries] == ["a0", "b0"]
    assert [found.name for found in protocol.gallery] == ["a1", "a2", "b1", "b2", "c0"]
    assert "2 queries against the 5 other photographs" in protocol.description


def test_without_labels_each_photograph_is_searched_for_by_an_augmented_version_of_itself() -> None:
    held_out, others = [photograph("x", "x"), photograph("y", "y")], [photograph("z", "z")]
    protocol = augmented_protocol(held_out, others, seed=3)
    assert [query.instance for query in protocol.queries] == ["x", "y"]
    assert [found.instance for found in protocol.gallery] == ["x", "y", "z"]
    first, second = (query.load() for query in protocol.queries)
    assert first.shape == (256, 256, 3)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, protocol.queries[0].load())
    assert "without labels" in protocol.description


def test_labels_of_one_photograph_each_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,instance\na.jpg,pear\nb.jpg,fig\n", encoding="utf-8")
    with pytest.raises(TooFewImagesError, match="give photographs of one thing the same instance"):
        protocol_of_labels(labels)


def test_labels_with_roles_ask_the_queries_and_labels_without_them_half_of_each_instance(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes())
    plain, roles = tmp_path / "plain.csv", tmp_path / "roles.csv"
    plain.write_text("path,instance\na.jpg,pear\na.jpg,pear\na.jpg,fig\n", encoding="utf-8")
    roles.write_text(
        "path,instance,role\na.jpg,pear,query\nb.jpg,pear,gallery\nc.jpg,fig,distractor\n", encoding="utf-8"
    )
    for path, name in ((plain, "labels"), (roles, "open_set")):
        protocol = protocol_of_labels(path)
        assert protocol.name == name
        assert [query.instance for query in protocol.queries] == ["pear"]
        assert [found.instance for found in protocol.gallery] == ["pear", "fig"]
