"""Pictures of a report: precision-recall curves, and the best and worst queries with their hits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from aff_shared.errors import AffError
from aff_toolkit.data.contact_sheet import Cell, contact_sheet
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsNotWrittenError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.evaluation_record import BASELINES, Method
from aff_toolkit.evaluation.rankings.rankings import Rankings
from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport
from aff_toolkit.evaluation.report.score_setup import SetupScores

_COLOURS: dict[Method, str] = {
    "asymmetric": "tab:blue",
    "symmetric": "tab:orange",
    "light-only": "tab:green",
    "colour-histogram": "tab:gray",
    "rootsift-vlad": "tab:brown",
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
            f"{score:.3f} {benchmark.gallery[row].instance}",
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
