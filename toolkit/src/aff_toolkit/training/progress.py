"""What a training shows and writes down while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """A progress bar on the terminal, and a line of JSON per epoch in a file."""

    def __init__(self, log_path: Path, console: Console) -> None:
        self._log_path = log_path
        self._console = console

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[StageProgress]:
        """Show a bar for a stage of `total` steps."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(name, total=total)
            yield StageProgress(name, self._log_path, bar, int(task))


class StageProgress:
    """Progress of one stage; its methods fit the callbacks of the training loops."""

    def __init__(self, name: str, log_path: Path, bar: Progress, task: int) -> None:
        self._name = name
        self._log_path = log_path
        self._bar = bar
        self._task = task

    def advance(self, steps: int = 1) -> None:
        """Move the bar on."""
        self._bar.advance(self._bar.task_ids[self._task], steps)

    def epoch(self, number: int, losses: dict[str, float]) -> None:
        """Write an epoch's mean losses down, and show them."""
        with self._log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"stage": self._name, "epoch": number, **losses}) + "\n")
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.console.print(f"{self._name}, epoch {number}: {shown}")
