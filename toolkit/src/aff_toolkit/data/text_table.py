"""Tables of text: CSV as spreadsheets, databases and programs write it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, cast

PATH_COLUMNS = ("path", "file_name", "SourceFile")
"""Names of a column of paths: this project's, the Hugging Face hub's, ExifTool's."""
URL_COLUMN = "url"

_DELIMITERS = (",", ";", "\t", "|")
_NAMED_DELIMITER = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a line before the headings that Excel understands
_UNSEEN = "".join(chr(code) for code in range(0x3001) if chr(code).isspace()) + "\ufeff\u200b\u200e\u200f\u2060"
_SURROGATE = re.compile("[\ud800-\udfff]")  # what is left of bytes that are not text
_REMEDY = 'save the list as UTF-8 ("CSV UTF-8" in Excel), or convert it: iconv -f CP1252 -t UTF-8'


class TableError(ValueError):
    """A table cannot be read; the text is a sentence without the table's name."""


@dataclass(slots=True)
class TableRow:
    """A row below the headings.

    Attributes:
        line: Number of its last line in the file, from 1.
        cells: At most one for each heading; those at the end may be missing.
        problem: Why the cells cannot be used; empty where they can.
    """

    line: int
    cells: Sequence[str]
    problem: str = ""


class TextTable:
    """Reads a table once, from its beginning to its end; blank rows are left out.

    The encoding is UTF-8, or UTF-16 or UTF-32 where a byte order mark or zero bytes show it. Cells are separated by
    what separates the headings: `,`, `;`, a tab or `|`, or what a line `sep=` before them names. Where there are blanks
    around headings, blanks around cells are not part of them.

    Attributes:
        headings: Without blanks around them; empty for a column without a name.

    Raises:
        TableError: There are no headings, two are the same, or they are not text.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = _Lines(_decoded(file))
        line = next(filter(str.strip, self._lines), "")
        named = _NAMED_DELIMITER.fullmatch(line)
        line = line if named is None else next(self._lines, "")
        self._delimiter = _delimiter_of(line) if named is None else named[1]
        self._padded = any(name != name.strip(" ") for name in _cells(line, self._delimiter))
        self._lines_before = self._lines.count - 1
        self._reader = csv.reader(chain([line], self._lines), delimiter=self._delimiter, skipinitialspace=self._padded)
        try:
            self.headings = [_without_blanks(name) for name in next(self._reader, [])]
        except csv.Error as error:
            raise TableError(f"the headings cannot be read: {error}") from error
        _require_usable(self.headings)
        if self._lines.ended:
            raise TableError("a quote in the names of the columns does not close")

    def __iter__(self) -> Iterator[TableRow]:
        """Yield the rows; one that cannot be used has its problem, and the others follow."""
        line = self._line
        while True:
            first = line + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                line = self._line
                yield TableRow(line, (), f"the cells from line {first} on cannot be read: {error}")
                continue
            line = self._line
            text = "".join(cells)
            if self._lines.ended:  # the reader reads beyond the last line only within quotes
                yield TableRow(line, (), f"a quote that opens in line {first} or below does not close")
            elif text and not text.isspace():
                yield self._row(line, cells, text)

    @property
    def _line(self) -> int:
        return self._lines_before + self._reader.line_num

    def _row(self, line: int, cells: list[str], text: str) -> TableRow:
        if self._padded:
            cells = [cell.strip(" ") for cell in cells]
        found, count = len(cells), len(self.headings)
        problem = ""
        if found > count:
            if any(cells[count:]):
                problem = (
                    f"has {found} cells below {count} headings; a cell that contains {self._delimiter!r} has to be "
                    "quoted"
                )
            cells = cells[:count]
        if not is_text(text):
            wrong = next((place for place, cell in enumerate(cells) if not is_text(cell)), None)
            if wrong is not None:
                name = self.headings[wrong] or str(wrong + 1)
                problem = f"column {name}: '{_escaped(cells[wrong])}' is not UTF-8; {_REMEDY}"
        return TableRow(line, cells, problem)


def find_column(headings: Sequence[str], *names: str) -> int | None:
    """Return where the first of some names stands among headings, as it is written or else in another case."""
    folded = [heading.casefold() for heading in headings]
    for name in names:
        if name in headings:
            return headings.index(name)
        if name.casefold() in folded:
            return folded.index(name.casefold())
    return None


class _Lines:
    """Iterator over lines of a text, which counts them and records its end."""

    def __init__(self, text: Iterator[str]) -> None:
        self.count = 0
        self.ended = False
        self._text = text

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._text, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.count += 1
        return line


def _decoded(file: BinaryIO) -> io.TextIOWrapper:
    buffered = io.BufferedReader(cast("io.RawIOBase", file))
    encoding = json.detect_encoding(buffered.peek(4)[:4])  # headings begin as JSON does: with ASCII, or with a mark
    return io.TextIOWrapper(buffered, encoding=encoding, errors="surrogateescape", newline="")


def _delimiter_of(line: str) -> str:
    """Return what separates headings: what makes a column of paths or URLs of them, and the most columns."""

    def columns(delimiter: str) -> tuple[bool, int]:
        names = [_without_blanks(name) for name in _cells(line, delimiter)]
        return find_column(names, *PATH_COLUMNS, URL_COLUMN) is not None, len(names)

    return max(_DELIMITERS, key=columns)


def _without_blanks(name: str) -> str:
    """Return a heading without what does not show around it: blanks of any kind, and marks of no width."""
    return name.strip(_UNSEEN)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _require_usable(headings: list[str]) -> None:
    if not any(headings):
        raise TableError("there is no line with the names of the columns")
    wrong = next((place for place, name in enumerate(headings) if not is_text(name)), None)
    if wrong is not None:
        raise TableError(f"the heading '{_escaped(headings[wrong])}' is not UTF-8; {_REMEDY}")
    require_different(headings)


def require_different(names: Sequence[str]) -> None:
    """Require that column names are unique; several columns may have no name.

    Raises:
        TableError: Two columns have the same name.
    """
    repeated = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if repeated is not None:
        raise TableError(f"two columns are named {repeated}; rename one of them")


def is_text(cell: str) -> bool:
    """Return whether the bytes of a cell are text in the table's encoding."""
    return cell.isascii() or _SURROGATE.search(cell) is None


def _escaped(cell: str) -> str:
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
