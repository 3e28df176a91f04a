"""The curves of an ablation: whether its trainings were long enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aff_benchmarks.ablation.ablation_errors import ResultNotWrittenError
from aff_benchmarks.ablation.variant import Pairing, RunResult

_DPI = 110
_LINES = ("solid", "dotted", "dashed")
_PAIRINGS: tuple[Pairing, ...] = ("asymmetric", "symmetric")


def write_curves(title: str, runs: Sequence[RunResult], path: Path) -> None:
    """Write a PNG of mAP over epochs, a line per variant with a curve; of two stages the second one.

    Raises:
        ResultNotWrittenError: The disk is full or refuses.
    """
    figure = Figure(figsize=(14, 6), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = sorted((run for run in runs if run.curve), key=lambda run: run.variant)
    for number, pairing in enumerate(_PAIRINGS, start=1):
        axes = figure.add_subplot(1, len(_PAIRINGS), number)
        for place, run in enumerate(drawn):
            epochs, maps = zip(*((point.epoch, 100 * point.map[pairing]) for point in run.curve), strict=True)
            axes.plot(epochs, maps, color=f"C{place % 10}", linestyle=_LINES[place // 10 % 3], label=run.variant)
        axes.set(title=pairing, xlabel="epochs", ylabel="mAP")
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.suptitle(f"{title}: mAP in percent during the training, one seed")
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise ResultNotWrittenError(f"{error.strerror}", item=str(path)) from error
