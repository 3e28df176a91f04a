"""Relevance: positives and junk of each query, and lists of different lengths in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
