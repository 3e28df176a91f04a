"""Lists of images with their payloads: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aff_contracts.errors import MissingExtraError
from aff_contracts.schemas.indexing import JsonObject
from aff_toolkit.indexing.file_systems import Place, has_protocol
from aff_toolkit.indexing.source_item import SourceError, SourceItem, unusable

_PLACES = ("path", "url")
_ROWS_AT_A_TIME = 1024


def _boolean(text: str) -> bool:
    return {"true": True, "false": False, "1": True, "0": False}[text.lower()]


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "int": int,
    "float": float,
    "bool": _boolean,
    "json": json.loads,
}


def manifest_items(location: str) -> Iterator[SourceItem]:
    """Give the images that a CSV or Parquet file lists.

    Column `path` or `url` says where an image lies, relative to the list's own directory; `id`, where there is one, is
    its id, else that text is; `payload` is a JSON object, and every other column goes into the payload under its name.
    A CSV column may tell its type, as in `year:int` (int, float, bool, json; text where it does not); empty cells are
    left out.

    Raises:
        SourceError: The file cannot be read, or has neither of the two columns. A row that cannot be used fails alone.
        MissingExtraError: Parquet needs pyarrow.
    """
    place = Place.at(location)
    directory = place.with_path(place.path.rpartition("/")[0])
    rows = _parquet_rows(place) if location.endswith(".parquet") else _csv_rows(place)
    for number, row in enumerate(rows, start=1):
        key = next((key for key in _PLACES if key in row), None)
        if key is None:
            raise SourceError(f"has neither of the columns {' and '.join(_PLACES)}", item=location)
        yield _item(row, key, f"{location}, row {number}", directory)


def _item(row: Mapping[str, Any], key: str, row_name: str, directory: Place) -> SourceItem:
    where = row[key]
    if isinstance(where, ValueError | KeyError) or not where:
        return unusable(row_name, row_name, f"the column {key} is empty")
    where = str(where)
    item_id = str(row.get("id") or where)
    wrong = next((name for name, value in row.items() if isinstance(value, ValueError | KeyError)), None)
    if wrong is not None:
        return unusable(item_id, row_name, f"the column {wrong} does not have its type")
    payload = row.get("payload") or {}
    if not isinstance(payload, dict):
        return unusable(item_id, row_name, "the column payload is not a JSON object")
    others: JsonObject = {
        name: value for name, value in row.items() if name not in {key, "id", "payload"} and value is not None
    }
    try:
        place = _place(where, directory)
    except SourceError as error:
        return unusable(item_id, row_name, str(error))
    return SourceItem(item_id, str(place), place.read, {**others, **payload})


def _place(where: str, directory: Place) -> Place:
    if has_protocol(where):
        return Place.at(where)
    absolute = where.startswith("/") and directory.local
    return directory.with_path(where if absolute else f"{directory.path}/{where}")


def _csv_rows(place: Place) -> Iterator[dict[str, Any]]:
    try:
        with place.open() as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            columns = [_column(name, str(place)) for name in reader.fieldnames or ()]
            for row in reader:
                values = [row[name] for name in reader.fieldnames or ()]
                yield {
                    name: _typed(value, parse) if value else None
                    for (name, parse), value in zip(columns, values, strict=True)
                }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"cannot be read: {error}", item=str(place)) from error


def _column(heading: str, location: str) -> tuple[str, Callable[[str], Any]]:
    name, colon, kind = heading.rpartition(":")
    if not colon:
        return (heading, json.loads) if heading == "payload" else (heading, str)
    if kind not in _TYPES:
        raise SourceError(
            f"column {heading!r}: there is no type {kind!r}; there are {', '.join(_TYPES)}", item=location
        )
    return name, _TYPES[kind]


def _typed(text: str, parse: Callable[[str], Any]) -> Any:
    """Return a cell's value, or why it has none: an error that the row meets alone."""
    try:
        return parse(text)
    except RecursionError as error:
        return ValueError(str(error))
    except (ValueError, KeyError) as error:
        return error


def _parquet_rows(place: Place) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an optional extra
        from pyarrow.lib import ArrowException  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("reading Parquet needs pyarrow: pip install 'aff-toolkit[parquet]'") from error
    try:
        with place.open() as file:
            for batch in parquet.ParquetFile(file).iter_batches(_ROWS_AT_A_TIME):
                for row in batch.to_pylist():
                    payload = row.get("payload")
                    yield {**row, "payload": _typed(payload, json.loads)} if isinstance(payload, str) else row
    except (OSError, ValueError, OverflowError, ArrowException) as error:  # a name that is not UTF-8, a year 300,000
        raise SourceError(f"cannot be read: {error}", item=str(place)) from error
