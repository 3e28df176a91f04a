"""An ablation from its configuration to its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from aff_benchmarks.ablation.ablation_config import AblationConfig
from aff_benchmarks.ablation.ablation_errors import UnusableGridError
from aff_benchmarks.ablation.benchmark import Benchmark
from aff_benchmarks.ablation.curves import write_curves
from aff_benchmarks.ablation.grid import Grid
from aff_benchmarks.ablation.materials import make_materials
from aff_benchmarks.ablation.plots import write_plots
from aff_benchmarks.ablation.report import AblationReport, make_report, write_report
from aff_benchmarks.ablation.run_ablation import RunAblation
from aff_benchmarks.ablation.variant import RunResult, Variant
from aff_toolkit.training.engine.training_log import StageLog, TrainingLog


@dataclass(frozen=True, slots=True)
class Ablate:
    """Makes the materials, trains the variants, writes the report.

    Attributes:
        config: What to do.
        work_directory: Features, networks and finished runs.
        processes: Trainings at a time.
        console: Where progress is shown.
    """

    config: AblationConfig
    work_directory: Path
    processes: int
    console: Console

    def run(self, out: Path, *, only: Sequence[str] | None = None) -> list[AblationReport]:
        """Run what is missing and write `<benchmark>.json`, `.md` and `.png` into `out`, for each benchmark.

        Args:
            out: Directory of the report.
            only: Names of the variants to train; all when None. The others count with what they have.

        Raises:
            AffError: What of the configuration cannot be used, or why a training cannot go on.
        """
        log = TrainingLog(self.work_directory, self.console)
        materials = make_materials(self.config, self.work_directory, log)
        grid = Grid(self.config, materials.features)
        runner = RunAblation(materials, self.processes)
        chosen = _chosen(grid, only)
        total = len(chosen) * len(self.config.seeds)
        with log.stage("runs", total, "runs") as bar:
            runs = runner.run(chosen, lambda results: self._tell(bar, results))
        others = [variant for variant in grid.variants if variant not in chosen]
        runs += [run for variant in others for seed in self.config.seeds for run in runner.kept(variant, seed)]
        return [self._report(benchmark, grid, runs, out) for benchmark in materials.benchmarks]

    def _report(self, benchmark: Benchmark, grid: Grid, runs: Sequence[RunResult], out: Path) -> AblationReport:
        own = [run for run in runs if run.benchmark == benchmark.protocol.name]
        report = make_report(self.config, benchmark.protocol, grid, own)
        page = write_report(report, out)
        write_plots(report, self.config, page.with_suffix(".png"))
        if any(run.curve for run in own):
            write_curves(report.benchmark, own, page.with_name(f"{report.benchmark}-curves.png"))
        return report

    def _tell(self, bar: StageLog, results: Sequence[RunResult]) -> None:
        bar.advance()
        for result in results:
            figures = ", ".join(f"{name} {100 * scores.map:.1f}" for name, scores in result.scores.items())
            where = f"{result.variant}, seed {result.seed}, {result.benchmark}"
            self.console.print(f"{where}: mAP {figures}; {result.seconds:.0f} s")


def _chosen(grid: Grid, only: Sequence[str] | None) -> list[Variant]:
    names = [variant.name for variant in grid.variants]
    unknown = sorted(set(only or []) - set(names))
    if unknown:
        raise UnusableGridError(f"there is no such variant; there are {', '.join(names)}", item=unknown[0])
    return [variant for variant in grid.variants if only is None or variant.name in only]
