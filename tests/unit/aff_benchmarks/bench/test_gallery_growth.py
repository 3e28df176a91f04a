"""Sharded galleries find the same hits as whole ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from aff_benchmarks.bench.gallery_growth import measure_sharding, merge_hits
from aff_shared.store.gallery_store import GalleryHit, GalleryRecord
from aff_toolkit.cli.main import app


def _hit(item_id: str, score: float) -> GalleryHit:
    return GalleryHit(GalleryRecord(item_id, "0" * 64, 8, 8, datetime.now(UTC), {}), score)


def _merged(shards: list[list[GalleryHit]], limit: int) -> list[str]:
    return [hit.record.item_id for hit in merge_hits(shards, limit)]


def test_merged_hits_are_the_best_of_all_shards() -> None:
    shards = [[_hit("a", 0.9), _hit("b", 0.4)], [_hit("c", 0.8)], [], [_hit("d", 0.95), _hit("e", 0.1)]]
    assert _merged(shards, 3) == ["d", "a", "c"]
    assert _merged(shards, 10) == ["d", "a", "c", "b", "e"]


def test_equal_scores_keep_the_order_of_their_shards() -> None:
    assert _merged([[_hit("b", 0.5)], [_hit("a", 0.5)]], 2) == ["b", "a"]


@pytest.mark.parametrize("shards", [1, 3])
def test_small_shards_have_perfect_recall(shards: int) -> None:
    (point,) = measure_sharding(16, 400, [shards])
    assert (point.shards, point.images, point.recall_at_10) == (shards, 400, 1.0)
    assert point.serial_p50_ms >= point.parallel_p50_ms >= point.merge_p50_ms > 0


def test_the_command_prints_a_point_for_each_division() -> None:
    words = ["bench", "shards", "--images", "100", "--dimension", "8", "--count", "1", "--count", "2", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert [point["shards"] for point in json.loads(result.stdout)] == [1, 2]
