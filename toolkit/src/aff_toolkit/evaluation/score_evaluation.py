"""Scores the rankings of a directory and writes the report with its pictures; no encoder is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from aff_shared.errors import AffError
from aff_toolkit.data.contact_sheet import Cell, contact_sheet
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.evaluation_record import BASELINES, GIVEN, PAIRINGS, EvaluationRecord, Method, rankings_path
from aff_toolkit.evaluation.evaluation_report import EvaluationReport, SetupScores, figure_name, score_rankings
from aff_toolkit.evaluation.rankings import Rankings, read_rankings

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
    benchmark = record.config.benchmark.open(min_side=_PICTURE_SIDE, images=record.config.given is None)
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
    paths = {method: rankings_path(directory, method) for method in (*PAIRINGS, *GIVEN)}
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
    if report.configuration.given:
        yield f"Given {report.configuration.given}: `{report.bundle}`, sha256 `{report.fingerprint}`."
    else:
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
    if not report.configuration.given:
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


_COLOURS: dict[Method, str] = {
    "asymmetric": "tab:blue",
    "symmetric": "tab:orange",
    "light-only": "tab:green",
    "colour-histogram": "tab:gray",
    "rootsift-vlad": "tab:brown",
    "features": "tab:blue",
    "rankings": "tab:blue",
}
_DPI = 110
_PANEL_INCHES = 4.6
_LEGEND_INCHES = 1.4
# Below the panel, where the legend hides no curve.
_BELOW = (0.5, -0.12)
# Keeps the last number of an axis off the first one of the next panel.
_PAD_INCHES = 0.12
_EACH = 5
_HITS = 6


def draw_curves(report: EvaluationReport, path: Path) -> None:
    """Write a PNG with the interpolated precision at each recall, mean over the queries that were scored.

    Raises:
        RankingsNotWrittenError: The disk is full or not writable.
    """
    setups = list(next(iter(report.modes.values())).setups)
    figure = Figure(
        figsize=(_PANEL_INCHES * len(setups) + 1, _PANEL_INCHES + _LEGEND_INCHES),
        layout=ConstrainedLayoutEngine(w_pad=_PAD_INCHES),
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(setups), squeeze=False, sharey=True)[0]
    for axes, setup in zip(panels, setups, strict=True):
        for method, measured in report.modes.items():
            scores = measured.setups[setup]
            recall = np.linspace(0, 1, len(scores.precision_at_recall))
            label = f"{measured.name}, mAP {100 * scores.figures['map']:.1f}"
            style = "--" if method in BASELINES else "-"
            axes.plot(recall, scores.precision_at_recall, style, color=_COLOURS[method], label=label)
        axes.set(title=setup, xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=_BELOW, fontsize="small")
    panels[0].set_ylabel("interpolated precision")
    figure.suptitle(report.title)
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error


def draw_query_sheet(
    benchmark: Benchmark, judged: Judgements, rankings: Rankings, scores: SetupScores, name: str, path: Path
) -> None:
    """Write a PNG with the five best and the five worst queries of a setup by average precision.

    Args:
        benchmark: Benchmark with the photographs.
        judged: The setup.
        rankings: Rankings of one mode or baseline.
        scores: Scores of the rankings in the setup.
        name: Name of the mode or baseline.
        path: The PNG.

    Raises:
        RankingsNotWrittenError: The disk is full or not writable.
    """
    chosen = best_and_worst(scores.average_precisions)
    rows = [_row(benchmark, judged, rankings, scores, query) for query in chosen]
    title = f"{name}, setup {judged.setup}: best queries, then worst; hits right (green), wrong (red), ignored (grey)"
    try:
        contact_sheet(rows, title).save(path)
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error


def best_and_worst(average_precisions: Sequence[float | None]) -> list[int]:
    """Return the queries of the greatest average precisions, then those of the least, the very worst last."""
    scored = [(-average, query) for query, average in enumerate(average_precisions) if average is not None]
    order = [query for _, query in sorted(scored)]
    return order if len(order) <= 2 * _EACH else order[:_EACH] + order[-_EACH:]


def _row(
    benchmark: Benchmark, judged: Judgements, rankings: Rankings, scores: SetupScores, query: int
) -> tuple[Cell, list[Cell]]:
    average = scores.average_precisions[query] or 0.0
    photograph = benchmark.queries[query]
    hits = [
        Cell(
            _pixels(benchmark.gallery[row]),
            benchmark.gallery[row].instance if np.isnan(score) else f"{score:.3f} {benchmark.gallery[row].instance}",
            None if row in judged.ignored[query] else bool(row in judged.relevant[query]),
        )
        for row, score in zip(rankings.rows[query, :_HITS].tolist(), rankings.scores[query].tolist(), strict=False)
        if row >= 0
    ]
    return Cell(_pixels(photograph), f"AP {100 * average:.1f} {photograph.instance}"), hits


def _pixels(photograph: Photograph) -> NDArray[np.uint8] | None:
    try:
        return photograph.load()
    except AffError:
        return None
