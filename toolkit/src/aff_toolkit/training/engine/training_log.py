"""The log of a training: JSON lines, TensorBoard, and progress bars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

LOG_NAME = "log.jsonl"
_TENSORBOARD = "tensorboard"


class TrainingLog:
    """The log of a training with several stages.

    Attributes:
        directory: Directory of `log.jsonl` and the TensorBoard files.
        console: Console of the bars.
    """

    def __init__(self, directory: Path, console: Console) -> None:
        self.directory = directory
        self.console = console
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
            log = StageLog(name, self.directory, bar, bar.add_task(name, total=total, rate=""), unit)
            if name in self._expected:
                stages = list(self._expected)
                before = sum(self._expected[stage] for stage in stages[: stages.index(name)])
                log.show_whole(before, self._expected[name], sum(self._expected.values()))
            try:
                yield log
            finally:
                log.close()


class StageLog:
    """The log of one stage."""

    def __init__(self, name: str, directory: Path, bar: Progress, task: TaskID, unit: str) -> None:
        self._name = name
        self._directory = directory
        self._bar = bar
        self._task = task
        self._unit = unit
        self._writer: SummaryWriter | None = None
        self._whole: TaskID | None = None
        self._before, self._own = 0.0, 0.0

    def show_whole(self, before: float, own: float, total: float) -> None:
        """Show a bar over all stages, given the expected seconds of the previous ones, of this one, and of all."""
        self._before, self._own = before, own
        self._whole = self._bar.add_task("all stages", total=total, rate="estimated seconds")
        self._advance_whole()

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
        self._writer = SummaryWriter(str(self._directory / _TENSORBOARD / self._name), purge_step=step + 1)

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
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)
        if kind != "step":
            shown = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            self._bar.console.print(f"{self._name}, {kind} at step {step}: {shown}")

    def _advance_whole(self) -> None:
        task = self._bar.tasks[self._task]
        if self._whole is not None:
            share = task.completed / task.total if task.total else 0.0
            self._bar.update(self._whole, completed=self._before + self._own * share)

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()

    def _stands(self, line: str, step: int) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:
            return False  # a line that a kill truncated
        return bool(entry["stage"] != self._name or 0 < step >= entry["step"])
