"""A directory belongs to one evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
from aff_toolkit.evaluation.evaluation_record import EvaluationConfig, EvaluationRecord
from tests.support.full_disk import no_file_beyond
from tests.support.tiny_bundle import TinyBundle


def record(training: TinyBundle, instances: int = 2, **options: Any) -> EvaluationRecord:
    choice = BenchmarkChoice(name="scenes", instances=instances)
    config = EvaluationConfig(benchmark=choice, **options)
    return EvaluationRecord.of(config, training.manifest, choice.open())


def test_what_was_recorded_is_read(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    made = record(tiny_bundle)
    made.begin(tmp_path / "new")
    made.begin(tmp_path / "new")
    assert EvaluationRecord.read(tmp_path / "new") == made
    assert made.fingerprint == tiny_bundle.manifest.fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 7}, "another evaluation: depth 1000, not 7;"),
        ({"precision": "int8"}, "precision fp32, not int8"),
        ({"search": "live"}, "search exact, not live"),
        ({"instances": 3}, "another evaluation: other photographs or labels;"),
    ],
)
def test_another_evaluation_is_reported_in_what_it_differs(
    tiny_bundle: TinyBundle, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    record(tiny_bundle).begin(tmp_path)
    with pytest.raises(RankingsMismatchError, match=words):
        record(tiny_bundle, **options).begin(tmp_path)


def test_auto_is_the_precision_that_the_bundle_has(tiny_bundle: TinyBundle) -> None:
    assert record(tiny_bundle).key == record(tiny_bundle, precision="fp32").key
    assert record(tiny_bundle, search="live").precision == "as served"


def test_what_is_not_a_record_or_cannot_be_written_is_reported(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    with pytest.raises(RankingsError, match="no evaluation there"):
        EvaluationRecord.read(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(RankingsError, match="another release"):
        EvaluationRecord.read(tmp_path)
    with pytest.raises(RankingsNotWrittenError):
        record(tiny_bundle).begin(tmp_path / "evaluation.json" / "below")


def test_a_full_disk_leaves_no_half_record_behind(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    with no_file_beyond(100), pytest.raises(RankingsNotWrittenError):
        record(tiny_bundle).begin(tmp_path)
    record(tiny_bundle).begin(tmp_path)
    assert EvaluationRecord.read(tmp_path) == record(tiny_bundle)
