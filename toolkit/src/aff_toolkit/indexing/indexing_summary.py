"""What became of a source."""

from __future__ import annotations

import csv
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from aff_contracts.schemas.indexing import IndexSummary
from aff_contracts.schemas.problem import Problem


@dataclass(slots=True)
class IndexingSummary:
    """Counts of a run, which several threads add to.

    Attributes:
        images: Images that were looked at.
        indexed: New ones.
        updated: Images whose content or payload is another one now.
        duplicate: Images that the gallery held already.
        failed: Images that are not in the gallery.
        failures: Problem of each of the first failed images, by id.
        interrupted: Whether the run was ended before the source.
    """

    images: int = 0
    indexed: int = 0
    updated: int = 0
    duplicate: int = 0
    failed: int = 0
    failures: dict[str, Problem] = field(default_factory=dict)
    interrupted: bool = False


class IndexingRecord:
    """Adds up a run, and lists its failures in a CSV file that exists only where there are some.

    Args:
        failures_path: The list, with the columns id, source, code, detail; None for none.
        kept_failures: How many failures the summary keeps.
    """

    def __init__(self, failures_path: Path | None = None, *, kept_failures: int = 1000) -> None:
        self.summary = IndexingSummary()
        self._failures_path = failures_path
        self._kept_failures = kept_failures
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        if failures_path is not None:
            failures_path.unlink(missing_ok=True)  # of an earlier run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, counts: IndexSummary) -> None:
        """Add what the indexer counted; failures are added one by one."""
        with self._lock:
            self.summary.images += counts.indexed + counts.updated + counts.duplicate
            self.summary.indexed += counts.indexed
            self.summary.updated += counts.updated
            self.summary.duplicate += counts.duplicate

    def fail(self, item_id: str, location: str, problem: Problem) -> None:
        """Add an image that is not in the gallery."""
        with self._lock:
            self.summary.images += 1
            self.summary.failed += 1
            if len(self.summary.failures) < self._kept_failures:
                self.summary.failures[item_id] = problem
            self._write(item_id, location, problem)

    def _write(self, item_id: str, location: str, problem: Problem) -> None:
        if self._failures_path is None:
            return
        if self._file is None:
            self._file = self._failures_path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(["id", "source", "code", "detail"])
        csv.writer(self._file).writerow([item_id, location, problem.code, problem.detail])
        self._file.flush()
