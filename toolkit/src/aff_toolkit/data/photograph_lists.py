"""Photographs that a file lists: a CSV file with instances, roles and further columns, or that of Google Landmarks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from aff_toolkit.data.photograph import Photograph, load_below
from aff_toolkit.data.text_table import PATH_COLUMNS, TextTable, find_column
from aff_toolkit.errors import PhotographListError

_INSTANCE_COLUMN = "instance"
_ROLE_COLUMNS = ("role", "split")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_COLUMNS = ["landmark_id", "images"]
_ID = re.compile(r"[0-9A-Za-z_-]{3,}")


def csv_photographs(
    csv_path: Path, roles: Collection[str] | None, *, min_side: int | None = None, alone: bool = False
) -> list[Photograph]:
    """Return the photographs of a CSV file (see TextTable), in the order of its rows.

    Columns: `path` (relative to the CSV), `instance`, and `role` or `split`; further columns become the payload. A
    photograph's name is its path; if a path is repeated, the line number is added to the name. `roles` selects rows;
    None selects all, and then no column of roles is needed. With `alone`, a row without an instance is a separate
    instance rather than an error. See load_photograph_file for `min_side`.

    Raises:
        PhotographListError: The file cannot be read, lacks a column, has a row of these roles
            without path or instance, or has no such row.
    """
    rows = listed_rows(csv_path, roles, needs_instance=not alone)
    photographs = _photographs(rows, str(csv_path.parent), min_side)
    if not photographs:
        wanted = f" of role {', '.join(sorted(roles))}" if roles is not None else ""
        raise PhotographListError(f"no rows{wanted}", item=str(csv_path))
    return photographs


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row of a list of photographs.

    Attributes:
        line: Number of its last line in the file, from 1.
        path: Path of the photograph, relative to the file.
        role: Empty if the file has no column of roles.
        payload: Text of the other columns by name.
    """

    line: int
    path: str
    instance: str
    role: str
    payload: Mapping[str, str]


def listed_rows(csv_path: Path, roles: Collection[str] | None, *, needs_instance: bool = True) -> Iterator[ListedRow]:
    """Yield the rows of these roles, or all of them, in the order of the file.

    Unless `needs_instance`, the instance of a row may be empty.

    Raises:
        PhotographListError: As csv_photographs, except that there may be no rows.
    """
    try:
        with csv_path.open("rb") as file:
            table = TextTable(file)
            columns = _Columns.of_headings(table.headings, csv_path, needs_role=roles is not None)
            for row in _rows(table, columns, csv_path):
                if roles is not None and row.role not in roles:
                    continue
                if not row.path or (needs_instance and not row.instance):
                    raise PhotographListError(f"line {row.line} has no path or no instance", item=str(csv_path))
                yield row
    except OSError as error:
        raise PhotographListError(f"cannot be read: {error.strerror}", item=str(csv_path)) from error
    except ValueError as error:  # of the table, or of its encoding
        raise PhotographListError(f"cannot be read: {error}", item=str(csv_path)) from error


@dataclass(frozen=True, slots=True)
class _Columns:
    """Places of the columns in a row; those of the payload may be missing at its end."""

    path: int
    instance: int
    role: int | None
    payload: tuple[tuple[str, int], ...]

    @classmethod
    def of_headings(cls, names: Sequence[str], csv_path: Path, *, needs_role: bool) -> _Columns:
        path, instance = find_column(names, *PATH_COLUMNS), find_column(names, _INSTANCE_COLUMN)
        role = find_column(names, *_ROLE_COLUMNS)
        missing = [name for name, place in ((_INSTANCE_COLUMN, instance), ("path", path)) if place is None]
        if needs_role and role is None:
            missing.append("role (or split)")
        if path is None or instance is None or missing:
            needed = "path, instance, role" if needs_role else "path, instance"
            detail = f"no column {', '.join(missing)}: the first line has {', '.join(names)}; needed are {needed}"
            raise PhotographListError(detail, item=str(csv_path))
        known = {path, instance, role}
        payload = tuple((name, place) for place, name in enumerate(names) if name and place not in known)
        return cls(path, instance, role, payload)

    @property
    def last_needed(self) -> int:
        return max(self.path, self.instance, self.role or 0)

    def payload_of(self, cells: Sequence[str]) -> Mapping[str, str]:
        if not self.payload:
            return _NOTHING
        return {name: cells[place] if place < len(cells) else "" for name, place in self.payload}


def _rows(table: TextTable, columns: _Columns, csv_path: Path) -> Iterator[ListedRow]:
    # Rows of one instance share one string: millions of rows stay small.
    instances: dict[str, str] = {}
    last_needed = columns.last_needed
    for row in table:
        if row.problem:
            raise PhotographListError(f"line {row.line}: {row.problem}", item=str(csv_path))
        if len(row.cells) <= last_needed:
            detail = f"line {row.line} has {len(row.cells)} columns, the first line has {len(table.headings)}"
            raise PhotographListError(detail, item=str(csv_path))
        path, instance = row.cells[columns.path], row.cells[columns.instance]
        role = "" if columns.role is None else row.cells[columns.role]
        shared = instances.setdefault(instance, instance)
        yield ListedRow(row.line, path, shared, role, columns.payload_of(row.cells))


def _photographs(rows: Iterator[ListedRow], root: str, min_side: int | None) -> list[Photograph]:
    names: set[str] = set()
    photographs = []
    for row in rows:
        name = row.path if row.path not in names else f"{row.path} (line {row.line})"
        names.add(name)
        photographs.append(
            Photograph(name, row.instance or name, partial(load_below, root, row.path, min_side), row.payload)
        )
    return photographs


def gldv2_photographs(train_clean_csv: Path, image_root: Path, *, min_side: int | None = None) -> list[Photograph]:
    """Return the photographs of Google Landmarks v2's cleaned training set, by landmark (Weyand et al., CVPR 2020).

    The official file has the columns landmark_id, and images with ids between spaces. In the official tree below
    `image_root`, the path of the image abcdef is a/b/c/abcdef.jpg.

    Raises:
        PhotographListError: The file cannot be read, or is not of that form.
    """
    root = str(image_root)
    try:
        with train_clean_csv.open(encoding="utf-8") as stream:
            photographs = [
                Photograph(name, landmark, partial(load_below, root, name, min_side))
                for landmark, images in _landmarks(stream, train_clean_csv)
                for name in (f"{image[0]}/{image[1]}/{image[2]}/{image}.jpg" for image in images)
            ]
    except OSError as error:
        raise PhotographListError(f"cannot be read: {error.strerror}", item=str(train_clean_csv)) from error
    except UnicodeDecodeError as error:
        raise PhotographListError(f"is not a CSV file in UTF-8: {error}", item=str(train_clean_csv)) from error
    if not photographs:
        raise PhotographListError("no rows", item=str(train_clean_csv))
    return photographs


def _landmarks(lines: Iterator[str], path: Path) -> Iterator[tuple[str, list[str]]]:
    # Not the csv module: the list of ids of a large landmark is longer than the longest field that it reads.
    header = next(lines, "").strip().split(",")
    if header != _COLUMNS:
        raise PhotographListError(f"the first line is {','.join(header)!r}, not {','.join(_COLUMNS)!r}", item=str(path))
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        landmark, _, images = line.strip().partition(",")
        ids = images.strip('"').split()
        wrong = next((image for image in ids if not _ID.fullmatch(image)), None)
        if not landmark or not ids or wrong is not None:
            found = f"{wrong!r} is not the id of an image" if wrong else "no landmark or no images"
            raise PhotographListError(f"line {number}: {found}", item=str(path))
        yield landmark, ids
