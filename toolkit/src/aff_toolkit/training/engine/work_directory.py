"""The work directory of a training: feature stores, results that one process computes once, and the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelerate.accelerator import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.training_source import name_some
from aff_toolkit.errors import TrackerError
from aff_toolkit.training.engine.trackers import Tracker, open_trackers, require_trackers
from aff_toolkit.training.features.extract_features import Extract, extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings

_SHOWN = 3
LOG_NAME = "log.jsonl"


@dataclass(frozen=True)
class WorkDirectory:
    """Storage of a training. Under `accelerate launch` the main process writes, and the others wait."""

    path: Path
    log: TrainingLog
    accelerator: Accelerator

    def report(self, message: str) -> None:
        """Print a message in the main process."""
        if self.accelerator.is_main_process:
            self.log.console.print(message)

    def report_left_out(self, instances: Sequence[str]) -> None:
        """Print the instances with fewer than two photographs."""
        if instances:
            self.report(f"left out, fewer than two readable photographs ({len(instances)}): {name_some(instances)}")

    def report_unreadable(self, reasons: Sequence[str], photographs: int) -> None:
        """Print which of a number of photographs cannot be read, and why."""
        if reasons:
            shown = "; ".join(reasons[:_SHOWN]) + ("; ..." if len(reasons) > _SHOWN else "")
            self.report(f"{len(reasons)} of {photographs} photographs cannot be read and are left out: {shown}")

    def once(self, make: Callable[[], None]) -> None:
        """Run a function in the main process, and return in every process when it has finished."""
        if self.accelerator.is_main_process:
            make()
        self.accelerator.wait_for_everyone()

    def remember(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """Return a JSON document: from the file `name` if it was written for the same key, else by computing it."""
        path = self.path / f"{name}.json"

        def write() -> None:
            if _key_of(path) != key:
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps({"key": key, "content": make()}), encoding="utf-8")
                partial.rename(path)

        self.once(write)
        return json.loads(path.read_text(encoding="utf-8"))["content"]

    def store(
        self,
        name: str,
        photographs: Sequence[Photograph],
        extractors: ExtractorSet,
        extract: Extract,
        settings: StoreSettings,
    ) -> FeatureStore:
        """Return the feature store `name`, completed by extract_features; print what cannot be read."""
        directory = self.path / name

        def make() -> None:
            with self.log.stage(name, len(photographs), "images") as bar:
                extract_features(photographs, extractors, extract, directory, settings, bar.advance)

        self.once(make)
        store = FeatureStore.open(directory)
        self.report_unreadable(list(store.unreadable().values()), len(photographs))
        return store


def _key_of(path: Path) -> str | None:
    """Return the key of a stored result; None if there is none, or if it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return str(document["key"]) if "content" in document else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class TrainingLog:
    """The log of a training with several stages: `log.jsonl` in a directory, trackers, and bars."""

    def __init__(
        self,
        directory: Path,
        console: Console,
        trackers: Sequence[str] = ("tensorboard",),
        configuration: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Prepare the log.

        Args:
            directory: Work directory of the training.
            console: For bars and figures.
            trackers: Which receive the figures too.
            configuration: Settings of the training, for the trackers.

        Raises:
            InvalidParameterError: There is no such tracker.
            MissingExtraError: The package of a tracker is not installed.
        """
        require_trackers(trackers)
        self.directory = directory
        self.console = console
        self._open_trackers = partial(open_trackers, trackers, directory, configuration=configuration)
        self._expected: Mapping[str, float] = {}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Show a second bar over all stages, given their expected seconds in their order."""
        self._expected = seconds

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[StageLog]:
        """Open a stage; `unit` is what its steps process, and a `total` of None is set later by `resume`."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(name, total=total, rate="")
            log = StageLog(name, self.directory, bar, task, unit, self._expected, partial(self._open_trackers, name))
            try:
                yield log
            finally:
                log.close()


class StageLog:
    """The log of one stage."""

    def __init__(
        self,
        name: str,
        directory: Path,
        bar: Progress,
        task: TaskID,
        unit: str,
        expected: Mapping[str, float],
        open_trackers_at: Callable[[int], list[Tracker]],
    ) -> None:
        self._name = name
        self._directory = directory
        self._bar = bar
        self._task = task
        self._unit = unit
        self._open_trackers_at = open_trackers_at
        self._trackers: list[Tracker] = []
        self._whole: TaskID | None = None
        self._own = expected.get(name, 0.0)
        if name in expected:
            self._before = sum(list(expected.values())[: list(expected).index(name)])
            total, done = sum(expected.values()), round(self._before)
            self._whole = bar.add_task("all stages", total=total, rate="estimated seconds", completed=done)

    def resume(self, step: int, total: int) -> None:
        """Continue after `step` of `total`; log lines of later steps are removed."""
        self._bar.update(self._task, completed=step, total=total)
        self._advance_whole()
        path = self._directory / LOG_NAME
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            partial = path.with_suffix(".partial")  # a full disk leaves the log as it was
            partial.write_text("".join(line for line in lines if self._stands(line, step)), encoding="utf-8")
            partial.rename(path)
        self._trackers = self._open_trackers_at(step)

    def advance(self, steps: int = 1, *, items: int = 1) -> None:
        """Advance the bar by `steps`, each with `items` photographs."""
        self._bar.advance(self._task, steps)
        speed = self._bar.tasks[self._task].speed
        self._bar.update(self._task, rate=f"{speed * items:.0f} {self._unit}/s" if speed else "")
        self._advance_whole()

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log figures of a step; `kind` is `step`, `epoch` or `validation`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / LOG_NAME).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"stage": self._name, "kind": kind, "step": step, **values}) + "\n")
        named = {f"{kind}/{name}": value for name, value in values.items()}
        for tracker in list(self._trackers):
            if not self._unless_failed(partial(tracker.log, named, step)):
                self._trackers.remove(tracker)
        if kind != "step":
            shown = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            self._bar.console.print(f"{self._name}, {kind} at step {step}: {shown}")

    def _advance_whole(self) -> None:
        task = self._bar.tasks[self._task]
        if self._whole is not None:
            share = task.completed / task.total if task.total else 0.0
            self._bar.update(self._whole, completed=self._before + self._own * share)

    def close(self) -> None:
        """Close the trackers."""
        for tracker in self._trackers:
            self._unless_failed(tracker.close)

    def _unless_failed(self, call: Callable[[], None]) -> bool:
        """Call a tracker; return whether it works. A training does not end with its tracker."""
        try:
            call()
        except TrackerError as error:
            self._bar.console.print(error.detail)
            return False
        return True

    def _stands(self, line: str, step: int) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:
            return False  # a line that a kill truncated
        return bool(entry["stage"] != self._name or 0 < step >= entry["step"])
