"""The plots of an ablation: alpha, features added one by one, mixers compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aff_toolkit.ablation.ablation_config import AblationConfig
from aff_toolkit.ablation.ablation_errors import ResultNotWrittenError
from aff_toolkit.ablation.grid import FULL, first, momentum, single
from aff_toolkit.ablation.report import AblationReport
from aff_toolkit.ablation.variant import Pairing

_COLOURS: dict[Pairing, str] = {"asymmetric": "tab:blue", "symmetric": "tab:orange"}
_DPI = 110


def write_plots(report: AblationReport, config: AblationConfig, path: Path) -> None:
    """Write a PNG with three panels: means over seeds, with the sample deviation as bars.

    Raises:
        ResultNotWrittenError: The disk is full or refuses.
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    sweep, added, mixers = figure.subplots(1, 3)
    names = config.features
    _draw(sweep, report, [momentum(alpha) for alpha in config.alphas], [f"{alpha:g}" for alpha in config.alphas])
    sweep.set(title="ArcFace with a momentum classifier", xlabel="alpha")
    steps = [single(names[0]), *(first(count, len(names)) for count in range(2, len(names) + 1))]
    _draw(added, report, steps, [names[0], *(f"+ {name}" for name in names[1:])])
    added.set(title="Features added one by one")
    kinds = [FULL, "mlp", "laff", "orthogonal"]
    _draw(mixers, report, kinds, ["transformer", *kinds[1:]], line="none")
    mixers.set(title="Mixers")
    for axes in (added, mixers):
        axes.tick_params(axis="x", rotation=20)
    sweep.legend()
    figure.suptitle(f"{report.benchmark}: mAP in percent, mean and deviation of {len(report.seeds)} seeds")
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise ResultNotWrittenError(f"{error.strerror}", item=str(path)) from error


def _draw(
    axes: Axes, report: AblationReport, variants: Sequence[str], labels: Sequence[str], line: str = "solid"
) -> None:
    for pairing, colour in _COLOURS.items():
        rows = [report.variants[name]["map"].get(pairing, []) for name in variants]
        places = [place for place, row in enumerate(rows) if row]
        means = [100 * float(np.mean(rows[place])) for place in places]
        spreads = [100 * float(np.std(rows[place], ddof=1)) if len(rows[place]) > 1 else 0.0 for place in places]
        axes.errorbar(places, means, yerr=spreads, color=colour, marker="o", linestyle=line, capsize=4, label=pairing)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylabel("mAP")
    axes.grid(axis="y", alpha=0.3)
