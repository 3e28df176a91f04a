"""An ablation from its configuration to its report."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from aff_benchmarks.ablation.ablation_config import AblationConfig, ResultNotWrittenError, UnusableGridError
from aff_benchmarks.ablation.benchmark import Benchmark
from aff_benchmarks.ablation.grid import Grid
from aff_benchmarks.ablation.materials import Materials, make_materials
from aff_benchmarks.ablation.plots import write_curves, write_plots
from aff_benchmarks.ablation.report import AblationReport, make_report, write_report
from aff_benchmarks.ablation.run_variant import run_variant
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


OnRun = Callable[[tuple[RunResult, ...]], None]

_materials: Materials | None = None


class KeptRun(BaseModel):
    """A run on the disk.

    Attributes:
        key: sha256 over everything that the run follows from.
        results: What it measured, by benchmark.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    results: tuple[RunResult, ...]


@dataclass(frozen=True, slots=True)
class RunAblation:
    """Trains what is not there yet.

    Attributes:
        materials: What the trainings share.
        processes: Trainings at a time, each in a process of one thread: small networks gain more from that than from
            several threads in one training.
    """

    materials: Materials
    processes: int

    def run(self, variants: Sequence[Variant], on_run: OnRun) -> list[RunResult]:
        """Return the results of all variants with all seeds; seed by seed, so that an early look compares variants.

        Raises:
            TrainingError: A training cannot go on.
            ResultNotWrittenError: The disk is full or refuses; runs that are finished are kept.
        """
        wanted = [(variant, seed) for seed in self.materials.config.seeds for variant in variants]
        kept = {(variant.name, seed): self.kept(variant, seed) for variant, seed in wanted}
        finished = [results for results in kept.values() if results]
        for results in finished:
            on_run(results)
        for results in self._train([(v, s) for v, s in wanted if not kept[v.name, s]]):
            finished.append(results)
            on_run(results)
        return [result for results in finished for result in results]

    def kept(self, variant: Variant, seed: int) -> tuple[RunResult, ...]:
        """Return the results of a run that was finished with these settings; none where there is no such run."""
        try:
            run = KeptRun.model_validate_json(self._path(variant, seed).read_bytes())
        except (OSError, ValidationError):
            return ()
        return run.results if run.key == self._key(variant, seed) else ()

    def _train(self, missing: Sequence[tuple[Variant, int]]) -> Iterator[tuple[RunResult, ...]]:
        if not missing:
            return
        config, directory = self.materials.config, self.materials.directory
        with ProcessPoolExecutor(
            min(self.processes, len(missing)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(config, directory),
        ) as pool:
            pending: dict[Future[tuple[RunResult, ...]], Variant] = {
                pool.submit(_run_here, variant, seed, directory / "logs" / f"{variant.name}-{seed}"): variant
                for variant, seed in missing
            }
            try:
                for future in as_completed(pending):
                    yield self._keep(pending[future], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _keep(self, variant: Variant, results: tuple[RunResult, ...]) -> tuple[RunResult, ...]:
        seed = results[0].seed
        path = self._path(variant, seed)
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            run = KeptRun(key=self._key(variant, seed), results=results)
            partial.write_text(run.model_dump_json(), encoding="utf-8")
            partial.rename(path)
        except OSError as error:
            detail = f"{error.strerror}. Make room and start again: finished runs are kept"
            raise ResultNotWrittenError(detail, item=str(path)) from error
        return results

    def _path(self, variant: Variant, seed: int) -> Path:
        return self.materials.directory / "runs" / f"{variant.name}-{seed}.json"

    def _key(self, variant: Variant, seed: int) -> str:
        recipe = self.materials.config.recipe.model_dump_json(exclude={"export"})
        content = "\n".join([*self.materials.keys, recipe, variant.model_dump_json(), str(seed)])
        return hashlib.sha256(content.encode()).hexdigest()


def _start_process(config: AblationConfig, directory: Path) -> None:
    global _materials  # noqa: PLW0603 - opened once per process, not once per run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _materials = Materials.open(config, directory)


def _end_with_parent() -> None:
    """End this process when the ablation is killed; a pool's processes would train what is queued for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_here(variant: Variant, seed: int, log_directory: Path) -> tuple[RunResult, ...]:
    assert _materials is not None, "the pool's initialiser opens them"
    return run_variant(_materials, variant, seed, log_directory)
