"""Relevance: positives and junk of each query, and their lists in a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph_lists import ListedRow, listed_rows
from aff_toolkit.errors import GroundTruthError

QUERY, JUNK = "query", "junk"
GALLERY_ROLES = ("gallery", "distractor", JUNK)
POSITIVES_COLUMN, JUNK_COLUMN, SEPARATOR = "positives", "junk", ";"
_MOST_NEAREST = 20
_GALLERY_SHARE = 50
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Positives and junk of Q queries; every other gallery image is a negative.

    Attributes:
        relevant: Gallery rows of the positives, ascending.
        ignored: Gallery rows of the junk, ascending: they are removed from the ranking before it is scored, as in
            Revisited Oxford and Paris (Radenovic et al., CVPR 2018).
    """

    relevant: Ragged
    ignored: Ragged

    @classmethod
    def of(cls, relevant: Iterable[Iterable[int]], ignored: Iterable[Iterable[int]]) -> Relevance:
        """Return the relevance of rows in any order; of each query one list of positives and one of junk."""
        return cls(_lists(relevant), _lists(ignored))


def relevance_of_instances(queries: Sequence[str], gallery: Sequence[str]) -> Relevance:
    """Return what counts where gallery images of the query's instance are its positives, and nothing is junk.

    Args:
        queries: Instance of each query.
        gallery: Instance of each gallery image.
    """
    rows = rows_by_instance(gallery)
    return Relevance.of([rows.get(instance, []) for instance in queries], [[]] * len(queries))


def leave_one_out(instances: Sequence[str]) -> tuple[list[int], Relevance]:
    """Return queries in which each photograph searches for the others of its instance, with itself as junk.

    Args:
        instances: Instance of each photograph.

    Returns:
        Rows of the Q photographs whose instance has another one, ascending, and what counts for each of them.
    """
    rows = rows_by_instance(instances)
    asked = [row for row, instance in enumerate(instances) if len(rows[instance]) > 1]
    return asked, Relevance.of([set(rows[instances[row]]) - {row} for row in asked], [[row] for row in asked])


def nearest_to(originals: Sequence[int], gallery: NDArray[np.float32]) -> Relevance:
    """Return the relevance of queries that are versions of gallery images: the images nearest to the original.

    The original is junk.

    Args:
        originals: Gallery row of each query's image.
        gallery: (N, D) float32, unit length: embeddings of the gallery.

    Returns:
        As positives of each query the 20 nearest images, or a fiftieth of the gallery where that is fewer.
    """
    count = min(max(len(gallery) // _GALLERY_SHARE, 1), _MOST_NEAREST)
    similarities = gallery[list(originals)] @ gallery.T
    similarities[np.arange(len(originals)), list(originals)] = -np.inf
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return Relevance.of(nearest.tolist(), [[row] for row in originals])


def rows_by_instance(instances: Iterable[str]) -> dict[str, list[int]]:
    """Return the rows of each instance, ascending."""
    rows: dict[str, list[int]] = {}
    for row, instance in enumerate(instances):
        rows.setdefault(instance, []).append(row)
    return rows


def _lists(lists: Iterable[Iterable[int]]) -> Ragged:
    return Ragged.of(np.array(sorted(set(rows)), np.int64) for rows in lists)


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One list of numbers per query.

    Attributes:
        offsets: (Q + 1,) int64; list q is values[offsets[q] : offsets[q + 1]].
        values: (sum of the lengths,) int64.
    """

    offsets: Rows
    values: Rows

    @classmethod
    def of(cls, lists: Iterable[Rows]) -> Ragged:
        """Put lists end to end."""
        parts = [np.asarray(one, dtype=np.int64) for one in lists]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(offsets, np.concatenate([np.zeros(0, np.int64), *parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> Rows:
        return self.values[self.place(query)]

    def __iter__(self) -> Iterator[Rows]:
        return (self[query] for query in range(len(self)))

    def place(self, query: int) -> slice:
        """Return the slice of list `query` in `values`."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def with_values(self, values: Rows) -> Ragged:
        """Return lists of the same lengths with other values."""
        return Ragged(self.offsets, values)


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
    listed = (query.positives is not None or query.junk or query.row.path in gallery.rows for query in queries)
    if not any(listed) and not gallery.junk_of:
        return None
    return Relevance.of(map(gallery.relevant, queries), map(gallery.ignored, queries))


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
        return self._rows_of_paths({*query.junk, query.row.path}) | set(self.junk_of.get(query.row.instance, []))

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
