"""The progress bar of `aff index`."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aff_toolkit.cli.console import messages
from aff_toolkit.indexing.indexing_summary import IndexingSummary


class IndexingBar:
    """Shows images done, images per second, failures, and the time that remains once the total is known.

    Args:
        summary: Whose failures are shown.
    """

    def __init__(self, summary: IndexingSummary) -> None:
        self._summary = summary
        self._bar = Progress(
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[failed]}", style="red"),
            TimeRemainingColumn(),
            console=messages,
        )
        self._task = self._bar.add_task("indexing", total=None, rate="", failed="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def set_total(self, images: int) -> None:
        """Tell how many images there are."""
        self._bar.update(self._task, total=images)

    def advance(self, images: int) -> None:
        """Count images as done."""
        self._bar.advance(self._task, images)
        speed = self._bar.tasks[0].speed
        failed = f"{self._summary.failed} failed" if self._summary.failed else ""
        self._bar.update(self._task, rate=f"{speed:.0f} images/s" if speed else "", failed=failed)
