from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aff_shared.bundles.bundle import ScoreLevels, load_manifest, write_manifest
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.evaluation.score_levels import level, score_levels
from tests.support.dummy_bundle import write_dummy_bundle

PROTOCOL = Protocol("dev", "a description", [], list[Photograph]())


def test_a_level_is_the_lowest_score_with_enough_matches_at_or_above_it() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
    matches = np.array([True, True, True, False, False, False])
    assert level(scores, matches, 0.95) == pytest.approx(0.7)
    assert level(scores, matches, 0.6) == pytest.approx(0.5)  # 3 of 5
    assert level(scores, matches, 0.5) == pytest.approx(0.4)
    assert level(scores, ~matches, 0.95) is None  # the fit cannot fall: it is the mean everywhere
    assert level(scores, ~matches, 0.5) == pytest.approx(0.4)


def test_lucky_hits_at_the_top_do_not_decide() -> None:
    scores = np.linspace(1, 0.5, 101).astype(np.float32)
    matches = np.array([number != 1 and number < 51 for number in range(101)])  # the second of 51 is not
    assert level(scores, matches, 0.95) == pytest.approx(0.745, abs=1e-3)  # 50 of 52
    few = np.array([number == 0 for number in range(101)])
    assert level(scores, few, 0.95) == pytest.approx(1.0)


def test_equal_scores_are_at_or_above_a_level_together() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.5], np.float32)
    matches = np.array([True, True, False, False, False])
    assert level(scores, matches, 0.5) == pytest.approx(0.9)


def test_junk_and_queries_without_a_match_do_not_count() -> None:
    gallery = np.eye(4, dtype=np.float32)
    queries = np.array([[0.8, 0.6, 0, 0], [0, 0, 0.6, 0.8]], np.float32)
    found = score_levels(queries, gallery, Relevance.of([[0], []], [[1], []]), PROTOCOL)
    assert found.same == pytest.approx(0.8)
    assert (found.queries, found.gallery) == (1, 4)
    assert found.protocol == "a description"
    levels = ScoreLevels(same=0.8, likely=0.5, protocol="", queries=1, gallery=4)
    assert [levels.strength(score) for score in (0.81, 0.8, 0.79, 0.5, 0.49)] == ["same"] * 2 + ["likely"] * 2 + [
        "weak"
    ]
    assert levels.model_copy(update={"same": None, "likely": None}).strength(1.0) == "weak"


def test_levels_change_neither_fingerprint_nor_space_and_bundles_without_them_stay_as_they_are(tmp_path: Path) -> None:
    manifest = write_dummy_bundle(tmp_path, dimension=8)
    assert "score_levels" not in json.loads((tmp_path / "bundle.json").read_text())
    assert load_manifest(tmp_path).score_levels is None
    levels = score_levels(
        np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), Relevance.of([[0], [1]], [[], []]), PROTOCOL
    )
    write_manifest(tmp_path, manifest.model_copy(update={"score_levels": levels}))
    read = load_manifest(tmp_path)
    assert (read.score_levels, read.fingerprint, read.space) == (levels, manifest.fingerprint, manifest.space)
