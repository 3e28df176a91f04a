"""The result of indexing a source."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from aff_shared.schemas.indexing import IndexSummary, JsonObject
from aff_shared.schemas.problem import Problem
from aff_toolkit.data.image_files import UnreadableFolderError
from aff_toolkit.indexing.failure_list import FailureList


@dataclass(slots=True)
class IndexingSummary:
    """Counts of a run, which several threads add to.

    Attributes:
        images: Number of processed images.
        indexed: Number of new images.
        updated: Number of images with new content or payload.
        duplicate: Number of images that the gallery had.
        failed: Number of images that were not indexed.
        failures: Problem of each of the first failed images and unreadable folders, by id.
        unreadable_folders: Number of folders that could not be read.
        passed_over: Number of files that are not named like images, by suffix.
        interrupted: Whether the run was ended before the source.
    """

    images: int = 0
    indexed: int = 0
    updated: int = 0
    duplicate: int = 0
    failed: int = 0
    failures: dict[str, Problem] = field(default_factory=dict)
    unreadable_folders: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False


class IndexingRecord:
    """Counts the results of a run, and lists its failures in a file.

    Args:
        failures_path: Path of the list of failures, see FailureList; None writes none.
        source: Indexed source, as for source_items.
        kept_failures: Maximum number of failures in the summary.

    Attributes:
        summary: Counts so far.
        failure_list: List of failures.
    """

    def __init__(self, failures_path: Path | None = None, source: str = "", *, kept_failures: int = 1000) -> None:
        self.summary = IndexingSummary()
        self.failure_list = None if failures_path is None else FailureList(failures_path, source)
        self._kept_failures = kept_failures
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.failure_list is not None:
            self.failure_list.close(complete=error is None and not self.summary.interrupted)

    def add(self, counts: IndexSummary) -> None:
        """Add what the indexer counted; failures are added one by one."""
        with self._lock:
            self.summary.images += counts.indexed + counts.updated + counts.duplicate
            self.summary.indexed += counts.indexed
            self.summary.updated += counts.updated
            self.summary.duplicate += counts.duplicate

    def fail(self, item_id: str, location: str, problem: Problem, payload: JsonObject | None = None) -> None:
        """Add an image that is not in the gallery, or a folder that cannot be read."""
        with self._lock:
            if problem.code == UnreadableFolderError.code:
                self.summary.unreadable_folders += 1
            else:
                self.summary.images += 1
                self.summary.failed += 1
            if len(self.summary.failures) < self._kept_failures:
                self.summary.failures[item_id] = problem
            if self.failure_list is not None:
                self.failure_list.add(item_id, location, problem, payload)
