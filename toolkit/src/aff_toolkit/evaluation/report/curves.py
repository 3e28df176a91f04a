"""Precision-recall curves, a panel per setup, and a line per mode and baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from aff_toolkit.errors import RankingsNotWrittenError
from aff_toolkit.evaluation.evaluation_config import BASELINES, Method
from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport

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


def draw_curves(report: EvaluationReport, path: Path) -> None:
    """Write a PNG with the interpolated precision at each recall, mean over the queries that were scored.

    Raises:
        RankingsNotWrittenError: The disk refuses.
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
