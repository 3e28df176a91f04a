"""The plots of an ablation: momentum, features added one by one, mixers, and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aff_benchmarks.ablation.ablation_config import AblationConfig, ResultNotWrittenError
from aff_benchmarks.ablation.grid import FULL, first, momentum, single
from aff_benchmarks.ablation.report import AblationReport
from aff_benchmarks.ablation.variant import Pairing, RunResult

_COLOURS: dict[Pairing, str] = {"asymmetric": "tab:blue", "symmetric": "tab:orange"}
_LINES = ("solid", "dotted", "dashed")
_DPI = 110


@dataclass(frozen=True)
class _Panel:
    """Variants of a panel with their labels."""

    title: str
    labels: dict[str, str]
    line: str = "solid"
    x_label: str = ""


def write_plots(report: AblationReport, config: AblationConfig, path: Path) -> None:
    """Write a PNG of the panels with at least two finished variants: means and sample deviations over seeds.

    Raises:
        ResultNotWrittenError: The file cannot be written.
    """
    panels = [
        panel for panel in _panels(config) if sum(bool(report.variants[name]["seeds"]) for name in panel.labels) > 1
    ]
    figure = Figure(figsize=(13 / 3 * max(1, len(panels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        _draw(axes, report, panel)
        if number == 1:
            axes.legend()
    shown = f"mAP in percent, {len(report.seeds)} seeds" if panels else "too few runs to compare"
    figure.suptitle(f"{report.benchmark}: {shown}")
    _save(figure, path)


def _panels(config: AblationConfig) -> tuple[_Panel, ...]:
    names = config.features
    added = {single(names[0]): names[0]}
    added |= {first(count, len(names)): f"+ {names[count - 1]}" for count in range(2, len(names) + 1)}
    alphas = {momentum(alpha, config.recipe.joint.losses): f"{alpha:g}" for alpha in config.alphas}
    mixers = {FULL: "transformer", "mlp": "mlp", "laff": "laff", "orthogonal": "orthogonal"}
    return (
        _Panel("ArcFace with a momentum classifier", alphas, x_label="alpha"),
        _Panel("Features added one by one", added),
        _Panel("Mixers", mixers, line="none"),
    )


def _draw(axes: Axes, report: AblationReport, panel: _Panel) -> None:
    for pairing, colour in _COLOURS.items():
        rows = [report.variants[name]["map"].get(pairing, []) for name in panel.labels]
        places = [place for place, row in enumerate(rows) if row]
        means = [100 * float(np.mean(rows[place])) for place in places]
        spreads = [100 * float(np.std(rows[place], ddof=1)) if len(rows[place]) > 1 else 0.0 for place in places]
        axes.errorbar(
            places, means, yerr=spreads, color=colour, marker="o", linestyle=panel.line, capsize=4, label=pairing
        )
    axes.set_xticks(range(len(panel.labels)), list(panel.labels.values()), rotation=0 if panel.x_label else 20)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel="mAP")
    axes.grid(axis="y", alpha=0.3)


def write_curves(title: str, runs: Sequence[RunResult], path: Path) -> None:
    """Write a PNG of mAP over epochs, one line per variant; of two-stage trainings the second stage.

    Raises:
        ResultNotWrittenError: The file cannot be written.
    """
    figure = Figure(figsize=(14, 6), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = sorted((run for run in runs if run.curve), key=lambda run: run.variant)
    for number, pairing in enumerate(_COLOURS, start=1):
        axes = figure.add_subplot(1, len(_COLOURS), number)
        for place, run in enumerate(drawn):
            epochs, maps = zip(*((point.epoch, 100 * point.map[pairing]) for point in run.curve), strict=True)
            axes.plot(epochs, maps, color=f"C{place % 10}", linestyle=_LINES[place // 10 % 3], label=run.variant)
        axes.set(title=pairing, xlabel="epochs", ylabel="mAP")
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.suptitle(f"{title}: mAP in percent during the training, one seed")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise ResultNotWrittenError(f"{error.strerror}", item=str(path)) from error
