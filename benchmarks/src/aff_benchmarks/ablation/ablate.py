"""Ablations: train the variants with several seeds in parallel, keep the results, and write the reports."""

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
from pydantic import ValidationError
from rich.console import Console

from aff_benchmarks.ablation.ablation_config import AblationConfig, ResultNotWrittenError, UnusableGridError
from aff_benchmarks.ablation.grid import Grid
from aff_benchmarks.ablation.materials import Materials, make_materials
from aff_benchmarks.ablation.report import AblationReport, make_report, write_curves, write_plots, write_report
from aff_benchmarks.ablation.run_variant import run_variant
from aff_benchmarks.ablation.variant import Benchmark, RunResult, Variant
from aff_benchmarks.records import FrozenModel
from aff_toolkit.training.engine.work_directory import TrainingLog

_Results = tuple[RunResult, ...]

_materials: Materials | None = None


def run_ablation(
    config: AblationConfig, work_directory: Path, processes: int, console: Console, out: Path, only: Sequence[str] = ()
) -> list[AblationReport]:
    """Run the missing trainings and write `<benchmark>.json`, `.md` and `.png` for each benchmark into `out`.

    `only` names the variants to train, none for all; the reports include earlier results of the others.

    Raises:
        AffError: The configuration cannot be used, or a training failed.
    """
    log = TrainingLog(work_directory, console)
    materials = make_materials(config, work_directory, log)
    grid = Grid(config, materials.features)
    runner = AblationRuns(materials, processes)
    chosen = _chosen(grid, only)
    with log.stage("runs", len(chosen) * len(config.seeds), "runs") as bar:

        def show(results: _Results) -> None:
            bar.advance()
            for result in results:
                figures = ", ".join(f"{name} {100 * scores.map:.1f}" for name, scores in result.scores.items())
                run = f"{result.variant}, seed {result.seed}, {result.benchmark}"
                console.print(f"{run}: mAP {figures}; {result.seconds:.0f} s")

        runs = runner.run(chosen, show)
    others = [variant for variant in grid.variants if variant not in chosen]
    runs += [run for variant in others for seed in config.seeds for run in runner.finished(variant, seed)]
    return [_write(config, benchmark, grid, runs, out) for benchmark in materials.benchmarks]


def _write(
    config: AblationConfig, benchmark: Benchmark, grid: Grid, runs: Sequence[RunResult], out: Path
) -> AblationReport:
    own = [run for run in runs if run.benchmark == benchmark.protocol.name]
    report = make_report(config, benchmark.protocol, grid, own)
    page = write_report(report, out)
    write_plots(report, config, page.with_suffix(".png"))
    if any(run.curve for run in own):
        write_curves(report.benchmark, own, page.with_name(f"{report.benchmark}-curves.png"))
    return report


def _chosen(grid: Grid, only: Sequence[str]) -> list[Variant]:
    names = [variant.name for variant in grid.variants]
    if unknown := sorted(set(only) - set(names)):
        raise UnusableGridError(f"unknown variant; known: {', '.join(names)}", item=unknown[0])
    return [variant for variant in grid.variants if not only or variant.name in only]


class FinishedRun(FrozenModel):
    """A run on disk: its results by benchmark, and the sha256 of everything that determines it."""

    key: str
    results: _Results


@dataclass(frozen=True, slots=True)
class AblationRuns:
    """Trains variants in parallel processes with one thread each, and keeps finished runs.

    Small networks gain more from processes than from several threads per training.
    """

    materials: Materials
    processes: int

    def run(self, variants: Sequence[Variant], on_run: Callable[[_Results], None]) -> list[RunResult]:
        """Return the results of all variants with all seeds, in the order of seeds, then variants.

        Raises:
            TrainingError: A training failed.
            ResultNotWrittenError: A result cannot be written; finished runs are kept.
        """
        needed = [(variant, seed) for seed in self.materials.config.seeds for variant in variants]
        earlier = {(variant.name, seed): self.finished(variant, seed) for variant, seed in needed}
        found = [results for results in earlier.values() if results]
        for results in found:
            on_run(results)
        for results in self._train([(v, s) for v, s in needed if not earlier[v.name, s]]):
            found.append(results)
            on_run(results)
        return [result for results in found for result in results]

    def finished(self, variant: Variant, seed: int) -> _Results:
        """Return the results of a finished run with the same settings, or an empty tuple."""
        try:
            run = FinishedRun.model_validate_json(self._path(variant, seed).read_bytes())
        except (OSError, ValidationError):
            return ()
        return run.results if run.key == self._key(variant, seed) else ()

    def _train(self, missing: Sequence[tuple[Variant, int]]) -> Iterator[_Results]:
        if not missing:
            return
        config, directory = self.materials.config, self.materials.directory
        with ProcessPoolExecutor(
            min(self.processes, len(missing)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(config, directory),
        ) as pool:
            pending: dict[Future[_Results], Variant] = {
                pool.submit(_run_here, variant, seed, directory / "logs" / f"{variant.name}-{seed}"): variant
                for variant, seed in missing
            }
            try:
                for future in as_completed(pending):
                    yield self._keep(pending[future], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _keep(self, variant: Variant, results: _Results) -> _Results:
        seed = results[0].seed
        path = self._path(variant, seed)
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            run = FinishedRun(key=self._key(variant, seed), results=results)
            partial.write_text(run.model_dump_json(), encoding="utf-8")
            partial.rename(path)
        except OSError as error:
            detail = f"{error.strerror}. Free disk space and start again: finished runs are kept"
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
    """End this process when the ablation is killed; otherwise the pool would train queued runs for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_here(variant: Variant, seed: int, log_directory: Path) -> _Results:
    assert _materials is not None, "the initialiser opens them"
    return run_variant(_materials, variant, seed, log_directory)
