"""The list of images that were not indexed: a CSV file that can be used as a source."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TextIO

from aff_shared.schemas.indexing import JsonObject
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
