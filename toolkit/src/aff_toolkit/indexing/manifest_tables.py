"""Lists of images as tables: CSV, whose headings may name types, Parquet and Arrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aff_toolkit.data.dataset_rows import arrow_batches, class_name, class_names, image_columns
from aff_toolkit.data.text_table import TableRow, TextTable, is_text, require_different
from aff_toolkit.indexing.file_systems import Place
from aff_toolkit.indexing.indexing_record import FAILURES_AS_LIST, has_failure_columns, needed_again, unguarded
from aff_toolkit.indexing.source_item import json_value

PAYLOAD = "payload"

_IMAGES_AT_A_TIME = 32
_ROWS_AT_A_TIME = 1024
_SHOWN_CHARACTERS = 60


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(text)
    return text.lower() in {"true", "1"}


# Suffixes of headings, parsers of their cells, and names of their types in errors.
_TYPES: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "text": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (_boolean, "true or false"),
    "json": (json.loads, "JSON"),
}


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row of a list.

    Attributes:
        number: From 1, below the headings.
        name: Position for messages: `line 3` of a text, `row 2` of Parquet and Arrow.
        values: By column, without those that are empty or cannot be read.
        problem: Why the row cannot be used; empty where it can.
    """

    number: int
    name: str
    values: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ManifestTable:
    """A list of images.

    Attributes:
        columns: Their names.
        images: Those whose values are image files, or how the hub writes one or several: `{"bytes": ..., "path": ...}`.
        rows: Can be read once.
    """

    columns: Sequence[str]
    images: Sequence[str]
    rows: Iterator[ManifestRow]


@contextmanager
def csv_table(place: Place) -> Iterator[ManifestTable]:
    """Open a CSV list in one of the forms that TextTable reads; headings such as `year:int` name types.

    Of a list of failures, only what is needed to index its images again is read.

    Raises:
        TableError: See TextTable.
        Exception: Any exception of the file system.
    """
    with place.open() as file:
        table = TextTable(file)
        rows: Iterator[TableRow] = iter(table)
        headings: Sequence[str] = table.headings
        if has_failure_columns(headings):
            rows, headings = map(_failure_row, rows), FAILURES_AS_LIST
        columns = [_column(heading) for heading in headings]
        names = [name for name, _ in columns]
        require_different(names)
        yield ManifestTable(names, (), (_csv_row(number, row, columns) for number, row in enumerate(rows, start=1)))


def _failure_row(row: TableRow) -> TableRow:
    cells = [unguarded(cell) for cell in row.cells]
    _, location, code = [*cells, "", "", ""][:3]
    return replace(row, cells=cells, problem=row.problem or needed_again(code, location))


def _column(heading: str) -> tuple[str, str]:
    """Return name and type of a column; a suffix after a colon that is not a type is part of the name (`EXIF:Make`)."""
    name, _, kind = heading.rpartition(":")
    if name and kind in _TYPES:
        return name, kind
    return heading, "json" if heading.casefold() == PAYLOAD else "text"


def _csv_row(number: int, row: TableRow, columns: Sequence[tuple[str, str]]) -> ManifestRow:
    values: dict[str, Any] = {}
    problem = row.problem
    for (name, kind), cell in zip(columns, row.cells, strict=False):  # cells at the end may be missing
        if not name or not cell or not is_text(cell):
            continue
        parse, expected = _TYPES[kind]
        try:
            value = parse(cell)
        except (ValueError, RecursionError):
            shown = cell if len(cell) <= _SHOWN_CHARACTERS else f"{cell[:_SHOWN_CHARACTERS]}…"
            problem = problem or f"column {name}: {shown!r} is not {expected}"
        else:
            values |= {} if value is None else {name: value}
    return ManifestRow(number, f"line {row.line}", values, problem)


@contextmanager
def parquet_table(place: Place) -> Iterator[ManifestTable]:
    """Open a list or a data set in Parquet.

    Raises:
        Exception: Any exception of the file system or of pyarrow.
    """
    from pyarrow import parquet  # noqa: PLC0415 - takes 0.2 s

    with place.open() as file:
        table = parquet.ParquetFile(file)
        images = image_columns(table.schema_arrow)
        batches = table.iter_batches(_IMAGES_AT_A_TIME if images else _ROWS_AT_A_TIME)
        yield _table_of(table.schema_arrow, batches)


@contextmanager
def arrow_table(place: Place) -> Iterator[ManifestTable]:
    """Open a list or a data set in Arrow's format, of streams or of files.

    Raises:
        Exception: Any exception of the file system or of pyarrow.
    """
    with place.open() as file:
        yield _table_of(*arrow_batches(file))


def _table_of(schema: Any, batches: Iterator[Any]) -> ManifestTable:
    classes = class_names(schema)
    # A batch of a stream may have a thousand images: their Python objects are made for a few at a time.
    parts = (
        batch.slice(first, _IMAGES_AT_A_TIME)
        for batch in batches
        for first in range(0, batch.num_rows, _IMAGES_AT_A_TIME)
    )
    rows = (row for part in parts for row in part.to_pylist())
    named = (_typed_row(number, row, classes) for number, row in enumerate(rows, start=1))
    return ManifestTable(schema.names, image_columns(schema), named)


def _typed_row(number: int, row: Mapping[str, Any], classes: Mapping[str, Sequence[str]]) -> ManifestRow:
    values: dict[str, Any] = {}
    problem = ""
    for name, value in row.items():
        if name in classes:
            values |= {} if (label := class_name(value, classes[name])) is None else {name: label}
        elif isinstance(value, str) and name.casefold() == PAYLOAD:
            try:
                values[name] = json.loads(value)
            except (ValueError, RecursionError):
                problem = f"column {name}: {value[:_SHOWN_CHARACTERS]!r} is not JSON"
        elif value is not None:
            values[name] = json_value(value)
    return ManifestRow(number, f"row {number}", values, problem)
