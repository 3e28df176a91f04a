"""A benchmark: queries, a gallery, and the positives of each query."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import BenchmarkError, NothingToScoreError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import Ragged

Rule = Literal["trapezoid", "mean_precision"]


@dataclass(frozen=True, slots=True, eq=False)
class Judgements:
    """Positives and ignored images of each of Q queries, in one setup of a benchmark.

    Attributes:
        setup: Name of the setup: `hard`, `private`, `all`.
        relevant: Gallery rows of the positives.
        ignored: Gallery rows that are removed from the ranking before scoring.
        members: (Q,) bool; whether a query belongs to the setup.
    """

    setup: str
    relevant: Ragged
    ignored: Ragged
    members: NDArray[np.bool_]

    @property
    def lists(self) -> tuple[Ragged, Ragged]:
        """The positives and the ignored rows."""
        return self.relevant, self.ignored

    def __post_init__(self) -> None:
        """Reject a setup without positives.

        Raises:
            NothingToScoreError: No query of the setup has a positive.
        """
        if not (np.diff(self.relevant.offsets)[self.members] > 0).any():
            raise NothingToScoreError("no query has a positive in the gallery", item=f"setup {self.setup}")


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """A retrieval benchmark.

    Attributes:
        name: Short name.
        description: Description to publish with the figures.
        rule: `trapezoid` is the AP of Revisited Oxford and Paris; `mean_precision` the mean of the precisions at the
            ranks of the positives, and mAP@100 as GLDv2 defines it.
        queries: Q photographs, cropped if the protocol requires it.
        gallery: G photographs.
        judgements: One per setup.
    """

    name: str
    description: str
    rule: Rule
    queries: Sequence[Photograph]
    gallery: Sequence[Photograph]
    judgements: tuple[Judgements, ...]

    def __post_init__(self) -> None:
        """Reject a benchmark without photographs.

        Raises:
            BenchmarkError: No query, or an empty gallery.
        """
        for part, photographs in (("query", self.queries), ("gallery image", self.gallery)):
            if not photographs:
                raise BenchmarkError(f"has no {part}", item=self.name)

    def labelled(self) -> Ragged:
        """Return for each query the gallery rows that some setup calls positive or ignored, ascending, each once."""
        return Ragged.of(
            np.unique(np.concatenate([rows[query] for judged in self.judgements for rows in judged.lists]))
            for query in range(len(self.queries))
        )

    def key(self) -> str:
        """Return the sha256 over names and order of the photographs, and over all that counts as found."""
        digest = hashlib.sha256(f"{self.name} {self.rule} {self.description}".encode())
        for photographs in (self.queries, self.gallery):
            for photograph in photographs:
                digest.update(json.dumps([photograph.name, photograph.instance]).encode())
            digest.update(b"end")
        for judged in self.judgements:
            digest.update(judged.setup.encode() + judged.members.tobytes())
            for lists in judged.lists:
                digest.update(lists.offsets.tobytes() + lists.values.tobytes())
        return digest.hexdigest()


def protocol_benchmark(protocol: Protocol) -> Benchmark:
    """Return the benchmark of a protocol, with one setup, `all`.

    Raises:
        BenchmarkError: No query or no gallery image; or, as NothingToScoreError, no query has a positive.
    """
    relevance = protocol.relevance()
    members = np.ones(len(protocol.queries), np.bool_)
    judgements = Judgements("all", relevance.relevant, relevance.ignored, members)
    return Benchmark(
        protocol.name, protocol.description, "mean_precision", protocol.queries, protocol.gallery, (judgements,)
    )
