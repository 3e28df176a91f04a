"""Benchmarks of an ablation: queries and gallery in feature stores, with relevance judgements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.ablation.variant import PairingScores
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.evaluation.retrieval_scores import QueryScores, rank_positives
from aff_toolkit.training.features.feature_store import FeatureStore

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A protocol with extracted features.

    Attributes:
        protocol: Protocol.
        queries: Store of its queries.
        gallery: Store of its gallery, including distractors.
    """

    protocol: Protocol
    queries: FeatureStore
    gallery: FeatureStore

    @classmethod
    def open(cls, protocol: Protocol, directory: Path) -> Benchmark:
        """Open the stores `<name>-queries` and `<name>-gallery` in a directory.

        Raises:
            FeatureStoreError: A store is missing or altered.
        """
        queries, gallery = (FeatureStore.open(directory / f"{protocol.name}-{part}") for part in ("queries", "gallery"))
        return cls(protocol, queries, gallery)

    @property
    def readable_relevance(self) -> Relevance:
        """Positives and junk as rows of the readable photographs; unreadable ones are ignored."""
        whole = self.protocol.relevance()
        queries = np.flatnonzero(self.queries.readable).tolist()
        places = np.where(self.gallery.readable, np.cumsum(self.gallery.readable) - 1, -1)
        lists = (
            [[int(place) for place in places[rows[query]] if place >= 0] for query in queries]
            for rows in (whole.relevant, whole.ignored)
        )
        return Relevance.of(*lists)

    def score(self, queries: Embeddings, gallery: Embeddings) -> tuple[PairingScores, tuple[float, ...]]:
        """Return mean scores, and the average precision of each query with a positive.

        Args:
            queries: Embeddings (Q, D) of the readable queries, unit length.
            gallery: Embeddings (G, D) of the readable gallery, unit length.
        """
        relevance = self.readable_relevance
        positions = rank_positives(queries, gallery, relevance)
        scores = QueryScores.of(positions, [len(relevant) for relevant in relevance.relevant])
        precisions = scores.average_precisions
        means = PairingScores(map=float(precisions.mean()), recall_at_1=float(scores.found_first.mean()))
        return means, tuple(precisions.tolist())
