"""Scores the rankings of a directory and writes the report into it; no encoder is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_record import BASELINES, PAIRINGS, EvaluationRecord, Method, rankings_path
from aff_toolkit.evaluation.rankings.rankings import Rankings, read_rankings
from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport, figure_name, score_rankings
from aff_toolkit.evaluation.report.pictures import draw_curves, draw_query_sheet

_PICTURE_SIDE = 256
_SHOWN = 10
_BASELINES_NOTE = (
    "The colour histogram (8 x 8 x 8 boxes of hue, saturation and value) and RootSIFT + VLAD (64 centres, fitted "
    "without labels on photographs of this gallery) need no training and no bundle."
)
_NO_BASELINES_NOTE = (
    "The baselines that need no training were not measured; exact search with `--baselines` measures them."
)


def score_evaluation(directory: Path) -> EvaluationReport:
    """Score every mode and baseline whose rankings are there, and write the report.

    Its files are report.json, report.md, precision_recall.png and queries.png. The sheet of queries shows the first of
    asymmetric, symmetric, light-only and the baselines that is there, in the middle one of the benchmark's setups:
    medium, private, all.

    Raises:
        RankingsError: There are no rankings, or they are of another release.
        RankingsMismatchError: The benchmark's files are not those that the rankings were made from.
        BenchmarkError: The benchmark's files are missing.
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


def report_markdown(report: EvaluationReport) -> str:
    """Return the report as Markdown, figures in percent."""
    return "\n".join(_markdown_lines(report)) + "\n"


def _markdown_lines(report: EvaluationReport) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield report.protocol
    yield ""
    yield f"Bundle `{report.bundle}`, fingerprint `{report.fingerprint}`, embedding space `{report.space_id}`."
    yield ""
    yield f"Configuration: `{report.configuration.model_dump_json()}`"
    for setup in next(iter(report.modes.values())).setups:
        yield from ["", f"## {setup}", "", *_table(report, setup)]
    yield from ["", "![precision and recall](precision_recall.png)", "", "![queries](queries.png)", ""]
    yield from ["## Time", ""]
    for measured in report.modes.values():
        steps = ", ".join(f"{name.replace('_', ' ')} {seconds:.3g} s" for name, seconds in measured.seconds.items())
        yield f"- {measured.name}: {steps}"
    yield from _unreadable(report)


def _table(report: EvaluationReport, setup: str) -> Iterator[str]:
    figures = list(next(iter(report.modes.values())).setups[setup].figures)
    headings = ["percent", *map(figure_name, figures), "queries scored", "left out"]
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for measured in report.modes.values():
        scores = measured.setups[setup]
        cells = [f"{100 * scores.figures[name]:.2f}" for name in figures]
        yield "| " + " | ".join([measured.name, *cells, str(scores.queries), str(scores.left_out)]) + " |"
    yield ""
    yield "Left out: queries without a positive in the gallery."
    yield ""
    yield _BASELINES_NOTE if report.modes.keys() & set(BASELINES) else _NO_BASELINES_NOTE


def _unreadable(report: EvaluationReport) -> Iterator[str]:
    for measured in report.modes.values():
        for what, reasons in (
            ("queries could not be read and score 0", measured.unreadable_queries),
            ("gallery images could not be read and are in no ranking", measured.unreadable_gallery),
        ):
            if reasons:
                yield from [
                    "",
                    f"{measured.name}: {len(reasons)} {what}:",
                    "",
                    *(f"- {reason}" for reason in reasons[:_SHOWN]),
                ]
                if len(reasons) > _SHOWN:
                    yield f"- and {len(reasons) - _SHOWN} more, in report.json"
