"""Scores the rankings of a directory and writes the report beside them; no encoder is needed."""

from __future__ import annotations

from pathlib import Path

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_config import PAIRINGS, Method
from aff_toolkit.evaluation.rankings.evaluation_record import EvaluationRecord, rankings_path
from aff_toolkit.evaluation.rankings.rankings import Rankings, read_rankings
from aff_toolkit.evaluation.report.curves import draw_curves
from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport, score_rankings
from aff_toolkit.evaluation.report.markdown import report_markdown
from aff_toolkit.evaluation.report.query_sheet import draw_query_sheet

_PICTURE_SIDE = 256


def score_evaluation(directory: Path) -> EvaluationReport:
    """Score every mode and baseline whose rankings are there, and write the report.

    Its files are report.json, report.md, precision_recall.png and queries.png. The sheet of queries shows the first of
    asymmetric, symmetric, light-only and the baselines that is there, in the middle one of the benchmark's setups:
    medium, private, all.

    Raises:
        RankingsError: No rankings there, or not of this release.
        RankingsMismatchError: The benchmark's files are not those that the rankings were made from.
        BenchmarkError: The benchmark's files are gone.
    """
    record = EvaluationRecord.read(directory)
    benchmark = record.config.benchmark.open(min_side=_PICTURE_SIDE)
    if benchmark.key() != record.benchmark_key:
        raise RankingsMismatchError(
            f"the files of {benchmark.name} have changed since; evaluate again, into another directory",
            item=str(directory),
        )
    rankings = _rankings(directory, record)
    report = score_rankings(record, benchmark, rankings)
    _write(directory / "report.json", report.model_dump_json(indent=2) + "\n")
    _write(directory / "report.md", report_markdown(report))
    draw_curves(report, directory / "precision_recall.png")
    _draw_queries(directory / "queries.png", benchmark, rankings, report)
    return report


def _rankings(directory: Path, record: EvaluationRecord) -> dict[Method, Rankings]:
    paths = {method: rankings_path(directory, method) for method in PAIRINGS}
    found = {method: read_rankings(path, record.key) for method, path in paths.items() if path.exists()}
    if not found:
        raise RankingsError("no rankings there yet; evaluate first", item=str(directory))
    return found


def _draw_queries(path: Path, benchmark: Benchmark, rankings: dict[Method, Rankings], report: EvaluationReport) -> None:
    method = next(iter(rankings))
    judged = benchmark.judgements[len(benchmark.judgements) // 2]
    measured = report.modes[method]
    draw_query_sheet(benchmark, judged, rankings[method], measured.setups[judged.setup], measured.name, path)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error
