"""Which of two bundles is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.retrieval_scores import QueryScores
from aff_toolkit.training.stages.held_out import labelled_protocol
from aff_toolkit.training.stages.judgement import Judgement, can_judge, judge


def protocol(things: int, views: int = 2) -> Protocol:
    shown = [
        Photograph(f"{thing}-{view}", str(thing), lambda: np.zeros((8, 8, 3), np.uint8))
        for thing in range(things)
        for view in range(views)
    ]
    return labelled_protocol(shown, "held_out", "drawn")


def scores(precisions: Sequence[float], hits: Sequence[float] | None = None) -> QueryScores:
    rows = np.arange(len(precisions))
    return QueryScores(rows, np.array(precisions), np.array(precisions if hits is None else hits))


def judged(before: Sequence[float], after: Sequence[float], *hits: Sequence[float]) -> Judgement:
    first, second = hits or (None, None)
    things = protocol(len(before) // 2)
    return judge(things, scores(before, first), scores(after, second), {"joint": (40, 90)})


def test_a_gain_beyond_its_interval_keeps_the_trained_bundle() -> None:
    found = judged([0.5] * 12, [0.6] * 10 + [0.5] * 2)
    assert found.kept == "trained"
    assert (found.queries, found.instances) == (12, 6)
    assert (found.map.before, found.map.after) == pytest.approx((0.5, 0.5 + 0.1 * 10 / 12))
    assert found.map.low > 0
    assert "mAP 50.0 before, 58.3 after: +8.3 points, 95 % interval" in found.describe()
    assert dict(found.steps) == {"joint": (40, 90)}


def test_a_gain_within_its_interval_is_none() -> None:
    found = judged([0.5] * 12, [0.9] * 6 + [0.2] * 6)
    assert found.map.after > found.map.before
    assert found.map.low < 0 < found.map.high
    assert found.kept == "base"
    assert found.describe().startswith("Nothing was gained: the base is kept.")


def test_the_same_figures_are_no_gain() -> None:
    assert judged([0.5] * 12, [0.5] * 12).kept == "base"


def test_what_is_worse_is_not_kept() -> None:
    assert judged([0.6] * 12, [0.4] * 12).kept == "base"


def test_a_gain_of_mean_precision_that_costs_hits_is_none_and_hits_alone_are_none() -> None:
    fewer_hits = [1.0] * 11 + [0.0]
    assert judged([0.5] * 12, [0.5] * 12, [0.0] * 12, [1.0] * 12).kept == "base"
    assert judged([0.5] * 12, [0.7] * 12, [1.0] * 12, fewer_hits).kept == "base"
    assert judged([0.5] * 12, [0.7] * 12, fewer_hits, fewer_hits).kept == "trained"


def test_many_queries_for_one_thing_do_not_make_a_gain_sure() -> None:
    before, after = scores([0.5] * 12), scores([0.9] * 4 + [0.45] * 8)
    assert judge(protocol(6), before, after, {}).kept == "base"
    assert judge(protocol(3, views=4), before, after, {}).kept == "base"


def test_fewer_than_five_things_judge_nothing() -> None:
    assert can_judge(protocol(5))
    assert not can_judge(protocol(4, views=10))
    assert not can_judge(protocol(20, views=1))
