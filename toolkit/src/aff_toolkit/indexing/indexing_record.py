"""Record of a run of indexing: its summary, and the list of failures, a CSV file that can be used as a source."""

from __future__ import annotations

import csv
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from aff_shared.schemas.indexing import IndexSummary, JsonObject
from aff_shared.schemas.problem import Problem
from aff_toolkit.data.image_files import UnreadableFolderError, encodable
from aff_toolkit.indexing.file_systems import Place

_COLUMNS = ("id", "source", "code", "detail", "payload")
FAILURES_AS_LIST = ("id", "path", "", "", "payload")
"""Names of the columns when the list is used as a source; those without a name are ignored."""

# Characters that start a formula in spreadsheets, in both widths.
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001
_GUARD = "'"
# A member of an archive, a row of a list, as their items are located.
_WITHIN = re.compile(r"(.+?\.(?:tar|tgz|tbz2|txz|tar\.(?:gz|bz2|xz)|parquet|csv|tsv)), ", re.IGNORECASE | re.DOTALL)
_MOST_HEADINGS = 1000


class FailureList:
    """List of failures, which is created at the first failure and replaces an earlier list.

    Other files, and the source, are never overwritten: the list then has another name.

    Args:
        path: Path of the list.
        source: Indexed source, as for source_items.

    Attributes:
        path: Actual path of the list: `path`, or the first free one of `name-1.csv`, `name-2.csv`, ...
        problem: Reason why it cannot be written; empty if it can.
    """

    def __init__(self, path: Path, source: str = "") -> None:
        self.path = _free_path(path, source)
        self.problem = _obstacle(self.path)
        self._file: TextIO | None = None

    def add(self, item_id: str, location: str, problem: Problem, payload: JsonObject | None) -> None:
        """Write a row; if the file cannot be written, set `problem` and write no more."""
        if self.problem:
            return
        kept = json.dumps(payload) if payload else ""
        cells = [_guarded(cell) for cell in (item_id, location, problem.code, problem.detail)]
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="")
                self._write(_COLUMNS)
            self._write([*cells, kept])
        except OSError as error:
            self.problem = error.strerror or str(error)

    def close(self, *, complete: bool) -> None:
        """Close the file.

        Args:
            complete: Whether the whole source was read; without failures, the list of an earlier run is then removed.
        """
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.problem = error.strerror or str(error)
        elif complete and not self.problem and is_failure_list(self.path):
            self.path.unlink()

    def _write(self, cells: Sequence[str]) -> None:
        assert self._file is not None, "opened before"
        # All are quoted, since some spreadsheets begin a cell after each semicolon.
        csv.writer(self._file, quoting=csv.QUOTE_ALL).writerow(cells)
        self._file.flush()


def is_failure_list(path: Path) -> bool:
    """Return whether a file is a list of failures by its first line."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        try:
            return has_failure_columns(next(csv.reader([file.readline(_MOST_HEADINGS)]), []))
        except csv.Error:
            return False


def has_failure_columns(headings: Sequence[str]) -> bool:
    """Return whether these are the headings of a list of failures."""
    return tuple(headings) == _COLUMNS


def unguarded(cell: str) -> str:
    """Return the text of a cell of such a list."""
    return cell[1:] if cell.startswith(_GUARD) and cell[1:].startswith((*_FORMULA, _GUARD)) else cell


def needed_again(code: str, location: str) -> str:
    """Return what has to be indexed instead of a row, as text; empty if the row's location can be read.

    Args:
        code: Code of the row's problem.
        location: Location of the row: a file, a folder, or an image within an archive or a list.
    """
    if code == UnreadableFolderError.code:
        return f"is a folder: index {location} when it can be read, with the --prefix of its path in the source"
    within = _WITHIN.match(location)
    if within is None or os.path.lexists(location):
        return ""
    return f"is part of {within[1]}: index that again; images that the gallery has are not sent"


def _guarded(text: str) -> str:
    """Return a text as a cell that is not interpreted as a formula or as terminal commands."""
    text = encodable(text)
    return _GUARD + text if text.startswith((*_FORMULA, _GUARD)) else text


def _free_path(path: Path, source: str) -> Path:
    place = Place.at(source) if source else None
    source_path = place.path if place is not None and place.local else None
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    return path if _is_free(path, source_path) else next(one for one in numbered if _is_free(one, source_path))


def _is_free(path: Path, source: str | None) -> bool:
    try:
        if not path.is_file():  # nothing to overwrite, as for /dev/null
            return True
    except OSError:  # _obstacle names it
        return True
    try:
        same = source is not None and Path(source).exists() and path.samefile(source)
        return not same and is_failure_list(path)
    except OSError:
        return False


def _obstacle(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    try:
        asked = path if path.exists() else path.parent
        if not asked.exists():
            return f"there is no folder {asked}"
        return "" if os.access(asked, os.W_OK) else "it may not be written"
    except OSError as error:
        return error.strerror or str(error)


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
