"""Lists of different lengths, end to end in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


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
        """Return where list `query` lies in `values`."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def with_values(self, values: Rows) -> Ragged:
        """Return lists of the same lengths with other values."""
        return Ragged(self.offsets, values)
