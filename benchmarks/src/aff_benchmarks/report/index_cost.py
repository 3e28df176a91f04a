"""What indexing costs beside the extractors alone, and beside a plain loop."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from aff_benchmarks.bench.bench_index import IndexBench, bench_index
from aff_benchmarks.report.bars import draw_bars
from aff_benchmarks.report.figure import Figure, figure, ratio_of
from aff_benchmarks.report.report import shown
from aff_benchmarks.report.section import BenchContext, Section, Table
from aff_benchmarks.report.theme import new_plot, save_plot

PLOT = "index_cost.svg"
_IMAGES = 256
_DEVICE = "auto"
_TEXT = """
From JPEG files of 640 x 480 pixels to points in an embedded store, in turn within each repetition:

- **ours**: the indexing pipeline, which decodes beside the extractors, embeds batches and writes many points at once;
- **extractors alone**: extractors and mixer in the same batches, on photographs in memory at their input sizes;
- **plain loop**: the usual tutorial with the same bundle and store: decode with Pillow, preprocess, extract and mix one
  photograph, write one point, and only then look at the next.
"""
_BARE = (
    "On a CPU, decoding takes from the extractors the cores that it needs: `attainable_over_bare` is what they allow."
)
_ATTAINABLE = "What the cores allow of the bare speed."


def index_cost(context: BenchContext) -> Section:
    """Measure.

    Raises:
        BundleError: The bundle cannot be used.
        CalledProcessError: The plain loop failed.
    """
    ours, plain = [], []
    for _ in range(context.repetitions):
        ours.append(bench_index(context.bundle, _IMAGES, 1, (), _DEVICE))
        plain.append(_plain_images_per_s(context.bundle))
    _plot(ours, plain, context.out / PLOT)
    return Section(
        key="index_cost",
        title="What indexing costs",
        text=_TEXT,
        figures=_figures(ours, plain),
        tables=[_table(ours, plain)],
        plots=[PLOT],
        settings={"images": _IMAGES, "batch_size": ours[0].batch_size, "device": ours[0].device},
        details={"ours": [one.model_dump() for one in ours], "plain_images_per_s": plain},
    )


def _plain_images_per_s(bundle: Path) -> float:
    module = "aff_benchmarks.bench.baselines.plain_indexing"
    command = [sys.executable, "-m", module, str(bundle), str(_IMAGES), _DEVICE]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _figures(ours: list[IndexBench], plain: list[float]) -> dict[str, Figure]:
    return {
        "throughput_over_bare": figure([one.throughput_over_bare for one in ours], at_least=0.9, note=_BARE),
        "attainable_over_bare": figure([one.attainable_over_bare for one in ours], note=_ATTAINABLE),
        "ours_over_plain_loop": ratio_of([one.images_per_s for one in ours], plain),
        "images_per_s": figure([one.images_per_s for one in ours], unit="images/s"),
    }


def _rates(ours: list[IndexBench], plain: list[float]) -> dict[str, float]:
    return {
        "extractors alone": statistics.median(one.bare_images_per_s for one in ours),
        "ours": statistics.median(one.images_per_s for one in ours),
        "plain loop": statistics.median(plain),
    }


def _table(ours: list[IndexBench], plain: list[float]) -> Table:
    rows = [[label, shown(rate)] for label, rate in _rates(ours, plain).items()]
    return Table(title="Medians of the repetitions", columns=["", "images/s"], rows=rows)


def _plot(ours: list[IndexBench], plain: list[float], path: Path) -> None:
    drawn, (axes,) = new_plot(height=3.2)
    draw_bars(axes, _rates(ours, plain), "images indexed per second")
    save_plot(drawn, path)
