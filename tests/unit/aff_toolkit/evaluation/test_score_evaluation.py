"""Rankings in a directory become a report, without any encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
from aff_toolkit.evaluation.evaluation_record import EvaluationConfig, EvaluationRecord, rankings_path
from aff_toolkit.evaluation.rankings import Rankings, write_rankings
from aff_toolkit.evaluation.score_evaluation import best_and_worst, score_evaluation
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_bundle import TinyBundle

GREEN, RED = (30, 160, 70), (210, 60, 50)


@pytest.fixture
def evaluated(tiny_bundle: TinyBundle, tmp_path: Path) -> Path:
    """Queries a and b of two instances; a finds its positive first, b cannot be read."""
    photographs = tmp_path / "photographs"
    for part, view in (("queries", 1), ("gallery", 2)):
        write_photographs(photographs / part, instances=2, views=view, labelled=True)
    (photographs / "queries" / "501" / "0.png").write_text("text")
    choice = BenchmarkChoice(name="folder", path=photographs)
    benchmark = choice.open()
    record = EvaluationRecord.of(EvaluationConfig(benchmark=choice), tiny_bundle.manifest, benchmark)
    record.begin(tmp_path)
    labelled = benchmark.labelled()
    rankings = Rankings(
        rows=np.array([[0, 2, 1, 3], [-1, -1, -1, -1]]),
        scores=np.array([[0.9, 0.8, 0.7, 0.6], [-np.inf] * 4], np.float32),
        labelled=labelled,
        ranks=labelled.with_values(np.array([0, 2, -1, -1])),
        unreadable_queries={1: "501/0.png: is not an image"},
        seconds={"search": 0.25},
    )
    write_rankings(rankings_path(tmp_path, "symmetric"), rankings, record.key)
    return tmp_path


def test_the_json_report_holds_figures_protocol_and_identities(evaluated: Path, tiny_bundle: TinyBundle) -> None:
    score_evaluation(evaluated)
    report = json.loads((evaluated / "report.json").read_text())
    scores = report["modes"]["symmetric"]["setups"]["all"]
    # Positives at ranks 1 and 3, and a query that could not be read.
    assert scores["figures"]["map"] == pytest.approx((1 / 1 + 2 / 3) / 2 / 2)
    assert scores["figures"]["recall_at_1"] == 0.5
    assert dict(zip(report["query_names"], scores["average_precisions"], strict=True)) == {
        "500/0.png": pytest.approx(5 / 6),
        "501/0.png": 0.0,
    }
    assert report["fingerprint"] == tiny_bundle.manifest.fingerprint
    assert report["configuration"]["benchmark"]["name"] == "folder"
    for words in ("whole image", "single scale", "exact search", "2 queries, 4 gallery images"):
        assert words in report["protocol"]


def test_the_markdown_report_holds_the_same(evaluated: Path, tiny_bundle: TinyBundle) -> None:
    report = score_evaluation(evaluated)
    text = (evaluated / "report.md").read_text()
    assert "| symmetric | 41.67 | 41.67 | 50.00 | 50.00 | 50.00 | 2 | 0 |" in text
    assert report.protocol in text
    assert tiny_bundle.manifest.fingerprint in text
    assert '"depth":1000' in text
    assert "- symmetric: search 0.25 s" in text
    assert "1 queries could not be read and score 0" in text
    assert "- 501/0.png: is not an image" in text


def test_a_baseline_has_a_row_with_its_plain_name_and_its_dimension(evaluated: Path) -> None:
    score_evaluation(evaluated)
    text = (evaluated / "report.md").read_text()
    assert "exact search with `--baselines` measures them" in text
    ranked = rankings_path(evaluated, "symmetric")
    ranked.with_name("rootsift-vlad.safetensors").write_bytes(ranked.read_bytes())
    report = score_evaluation(evaluated)
    assert {name: (one.name, one.dimension) for name, one in report.modes.items()} == {
        "symmetric": ("symmetric", report.dimension),
        "rootsift-vlad": ("RootSIFT + VLAD, 8,192-d", 8192),
    }
    text = (evaluated / "report.md").read_text()
    assert "| RootSIFT + VLAD, 8,192-d | 41.67 | 41.67 | 50.00 | 50.00 | 50.00 | 2 | 0 |" in text
    assert "need no training and no bundle" in text
    with Image.open(evaluated / "precision_recall.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert (140, 86, 75) in colours  # the line of the baseline


def test_the_pictures_show_curves_and_framed_hits(evaluated: Path) -> None:
    score_evaluation(evaluated)
    with Image.open(evaluated / "precision_recall.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert (255, 127, 14) in colours  # the line of the symmetric mode
    with Image.open(evaluated / "queries.png") as sheet:
        frames = [sheet.getpixel((10 + column * 160, 54)) for column in range(1, 5)]
    assert frames == [GREEN, RED, GREEN, RED]


def test_scoring_twice_returns_the_same_files(evaluated: Path) -> None:
    names = ("report.json", "report.md", "precision_recall.png", "queries.png")
    score_evaluation(evaluated)
    before = [(evaluated / name).read_bytes() for name in names]
    score_evaluation(evaluated)
    assert [(evaluated / name).read_bytes() for name in names] == before


def test_changed_files_of_the_benchmark_are_reported(evaluated: Path) -> None:
    (evaluated / "photographs" / "gallery" / "500" / "1.png").unlink()
    with pytest.raises(RankingsMismatchError, match="have changed since"):
        score_evaluation(evaluated)


def test_no_rankings_yet_are_reported(evaluated: Path) -> None:
    rankings_path(evaluated, "symmetric").unlink()
    with pytest.raises(RankingsError, match="evaluate first"):
        score_evaluation(evaluated)


@pytest.mark.parametrize("name", ["report.json", "report.md", "precision_recall.png", "queries.png"])
def test_a_report_that_cannot_be_written_is_reported(evaluated: Path, name: str) -> None:
    (evaluated / name).mkdir()
    with pytest.raises(RankingsNotWrittenError, match=name):
        score_evaluation(evaluated)


def test_the_five_best_are_first_and_the_very_worst_last() -> None:
    averages = [0.5, None, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4, 1.0, 0.0]
    assert best_and_worst(averages) == [10, 2, 6, 4, 8, 9, 5, 7, 3, 11]


def test_few_queries_are_shown_once_each_and_equal_ones_in_their_order() -> None:
    assert best_and_worst([0.0, 1.0, None, 1.0]) == [1, 3, 0]
