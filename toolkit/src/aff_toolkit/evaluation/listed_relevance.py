"""The positives and the junk that a CSV file of queries and gallery lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aff_toolkit.data.photograph_lists import ListedRow, listed_rows
from aff_toolkit.errors import GroundTruthError
from aff_toolkit.evaluation.relevance import Relevance

QUERY = "query"
JUNK = "junk"
GALLERY_ROLES = ("gallery", "distractor", JUNK)

POSITIVES_COLUMN = "positives"
JUNK_COLUMN = "junk"
SEPARATOR = ";"


def listed_relevance(csv_path: Path) -> Relevance | None:
    """Return what counts for each query of a file, by the rows of its queries and of its gallery, in file order.

    With the column `positives`, the gallery images that a query lists there are its positives, and none others;
    without it, those of its instance are. Junk are the images that a query lists in the column `junk`, those of the
    role `junk` of its instance, and the query's own photograph where the gallery has it too.

    Args:
        csv_path: See csv_photographs. Names in both columns are paths as the column `path` has them, with `;` between
            them. They stand for every row of the gallery with that path.

    Returns:
        None where equal instances are all that counts.

    Raises:
        PhotographListError: See csv_photographs.
        GroundTruthError: A name is not in the gallery, an image is both positive and junk, or a row of the gallery
            lists anything.
    """
    queries = [_Query.of(row) for row in listed_rows(csv_path, [QUERY])]
    gallery = _Gallery.read(csv_path, {path for query in queries for path in query.names})
    for query in queries:
        _require_consistent(query, gallery, csv_path)
    listed = any(query.positives is not None or query.junk or query.row.path in gallery.rows for query in queries)
    if not listed and not gallery.junk_of:
        return None
    return Relevance.of(
        [gallery.relevant(query) for query in queries],
        [gallery.ignored(query) for query in queries],
    )


@dataclass(frozen=True, slots=True)
class _Query:
    """A query with the paths that it lists; `positives` is None if the file has no such column."""

    row: ListedRow
    positives: frozenset[str] | None
    junk: frozenset[str]

    @classmethod
    def of(cls, row: ListedRow) -> _Query:
        positives = _paths(row, POSITIVES_COLUMN) if POSITIVES_COLUMN in row.payload else None
        return cls(row, positives, _paths(row, JUNK_COLUMN))

    @property
    def names(self) -> frozenset[str]:
        return (self.positives or frozenset()) | self.junk | {self.row.path}


@dataclass(slots=True)
class _Gallery:
    """Rows of the gallery: of the paths that a query names, of each instance, and of the role junk by instance."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    rows_of: dict[str, list[int]] = field(default_factory=dict)
    junk_of: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, csv_path: Path, named: set[str]) -> _Gallery:
        gallery = cls()
        junk: dict[str, ListedRow] = {}
        others: set[str] = set()
        for number, row in enumerate(listed_rows(csv_path, GALLERY_ROLES)):
            _require_nothing_listed(row, csv_path)
            if row.path in named:
                gallery.rows.setdefault(row.path, []).append(number)
            gallery.rows_of.setdefault(row.instance, []).append(number)
            if row.role == JUNK:
                gallery.junk_of.setdefault(row.instance, []).append(number)
                junk.setdefault(row.path, row)
            else:
                others.add(row.path)
        twice = next((row for path, row in junk.items() if path in others), None)
        if twice is not None:
            raise _error("has the role junk, and another row has the same path with the role gallery", twice, csv_path)
        return gallery

    def ignored(self, query: _Query) -> set[int]:
        listed = self._rows_of_paths({*query.junk, query.row.path})
        return listed | set(self.junk_of.get(query.row.instance, []))

    def relevant(self, query: _Query) -> set[int]:
        if query.positives is None:
            return set(self.rows_of.get(query.row.instance, [])) - self.ignored(query)
        return self._rows_of_paths(query.positives)

    def _rows_of_paths(self, paths: Iterable[str]) -> set[int]:
        return {row for path in paths for row in self.rows.get(path, [])}


def _paths(row: ListedRow, column: str) -> frozenset[str]:
    names = (name.strip() for name in row.payload.get(column, "").split(SEPARATOR))
    return frozenset(name for name in names if name)


def _require_nothing_listed(row: ListedRow, csv_path: Path) -> None:
    column = next((name for name in (POSITIVES_COLUMN, JUNK_COLUMN) if row.payload.get(name, "").strip()), None)
    if column is not None:
        raise _error(f"has the role {row.role} and lists {column}; queries alone do", row, csv_path)


def _require_consistent(query: _Query, gallery: _Gallery, csv_path: Path) -> None:
    positives = query.positives or frozenset()
    for kind, paths in (("positive", positives), ("junk", query.junk)):
        unknown = min(paths - gallery.rows.keys(), default=None)
        if unknown is not None:
            raise _error(f"lists {unknown!r} as {kind}, which is not in the gallery", query.row, csv_path)
    if query.row.path in positives:
        raise _error("lists itself as positive", query.row, csv_path)
    ignored = gallery.ignored(query)
    both = next((path for path in sorted(positives) if ignored.intersection(gallery.rows[path])), None)
    if both is not None:
        raise _error(f"has {both!r} both as positive and as junk", query.row, csv_path)


def _error(problem: str, row: ListedRow, csv_path: Path) -> GroundTruthError:
    return GroundTruthError(f"line {row.line} ({row.path}) {problem}", item=str(csv_path))
