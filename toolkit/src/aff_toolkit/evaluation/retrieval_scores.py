"""Retrieval figures from rankings (mAP, mAP@100, recall@k), and the paired bootstrap of their differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_toolkit.evaluation.relevance import Relevance, relevance_of_instances
from aff_toolkit.evaluation.revisited_scores import positions_of

_MAP_CUTOFF = 100


class RetrievalScores(BaseModel):
    """Figures from 0 to 1 over the queries that have at least one positive in the gallery.

    Attributes:
        map: Mean over queries of the mean precision at the ranks of the positives, over the whole ranking.
        map_at_100: As GLDv2 defines it: 1 / min(m, 100) times the sum of precisions at positives up to rank 100.
        recall_at_1: Share of queries with a positive at rank 1; `recall_at_5` and `recall_at_10` up to rank 5 and 10.
        queries: Number of queries that were scored.
        gallery: Number of gallery images, distractors included.
    """

    model_config = ConfigDict(frozen=True)

    map: float
    map_at_100: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    queries: int
    gallery: int


@dataclass(frozen=True, slots=True, eq=False)
class QueryScores:
    """Figures of each of the Q queries that have a positive.

    Attributes:
        queries: (Q,) their numbers in the protocol.
        average_precisions: (Q,) from 0 to 1, over the whole ranking.
        found_first: (Q,) 1 if a positive is at rank 1, else 0.
    """

    queries: NDArray[np.int64]
    average_precisions: NDArray[np.float64]
    found_first: NDArray[np.float64]

    @classmethod
    def of(cls, positions: Sequence[NDArray[np.int64]], positives: Sequence[int]) -> QueryScores:
        """Score each query by the ranks of its positives: see score_positions."""
        scored = [query for query, count in enumerate(positives) if count]
        return cls(
            np.asarray(scored, dtype=np.int64),
            np.array([average_precision_at(positions[query], positives[query]) for query in scored]),
            np.array([float((positions[query][:1] < 1).any()) for query in scored]),
        )


def average_precision_at(positions: NDArray[np.int64], positives: int, cutoff: int | None = None) -> float:
    """Return the average precision of a ranking by the ranks of its positives.

    Args:
        positions: (P,) int64 ranks of the positives that were found, from 0, ascending.
        positives: Number of positives in the gallery, at least 1.
        cutoff: Ranks considered; all when None.
    """
    ranks = positions[: np.searchsorted(positions, cutoff) if cutoff else None] + 1
    precisions = np.arange(1, len(ranks) + 1) / ranks
    return float(precisions.sum() / min(positives, cutoff or positives))


def score_rankings(rankings: Sequence[NDArray[np.bool_]], positives: Sequence[int], gallery: int) -> RetrievalScores:
    """Score one ranking per query.

    Args:
        rankings: Per query (n,) whether the image at each rank is a positive, best first.
        positives: Per query the number of positives in the gallery; queries without any are left out.
        gallery: Number of gallery images.

    Raises:
        ValueError: No query has a positive.
    """
    return score_positions([np.flatnonzero(ranking) for ranking in rankings], positives, gallery)


def score_positions(positions: Sequence[NDArray[np.int64]], positives: Sequence[int], gallery: int) -> RetrievalScores:
    """Score one ranking per query by the ranks of its positives.

    Args:
        positions: Per query (P,) int64 ranks of the positives that were found, from 0, ascending.
        positives: Per query the number of positives in the gallery; queries without any are left out.
        gallery: Number of gallery images.

    Raises:
        ValueError: No query has a positive.
    """
    scored = [(found, count) for found, count in zip(positions, positives, strict=True) if count]
    if not scored:
        raise ValueError("no query has a positive in the gallery")
    return RetrievalScores(
        map=float(np.mean([average_precision_at(found, count) for found, count in scored])),
        map_at_100=float(np.mean([average_precision_at(found, count, _MAP_CUTOFF) for found, count in scored])),
        recall_at_1=_recall(scored, 1),
        recall_at_5=_recall(scored, 5),
        recall_at_10=_recall(scored, 10),
        queries=len(scored),
        gallery=gallery,
    )


def _recall(scored: Sequence[tuple[NDArray[np.int64], int]], k: int) -> float:
    return float(np.mean([bool((found[:1] < k).any()) for found, _ in scored]))


def score_embeddings(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    query_names: Sequence[str],
    gallery_names: Sequence[str],
) -> RetrievalScores:
    """Rank the gallery by exact cosine similarity, and score; equal names are positives.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length.
        query_names: Q instance names.
        gallery_names: G instance names; those that no query bears are distractors.

    Raises:
        ValueError: No query has a positive.
    """
    return score_relevance(queries, gallery, relevance_of_instances(query_names, gallery_names))


def score_relevance(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], relevance: Relevance
) -> RetrievalScores:
    """Rank the gallery by exact cosine similarity, take each query's junk out, and score.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length.
        relevance: Positives and junk of the Q queries.

    Raises:
        ValueError: No query has a positive.
    """
    positions = rank_positives(queries, gallery, relevance)
    return score_positions(positions, [len(relevant) for relevant in relevance.relevant], len(gallery))


def rank_positives(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], relevance: Relevance
) -> list[NDArray[np.int64]]:
    """Rank the gallery by exact cosine similarity, and take each query's junk out.

    Args:
        queries: (Q, D), unit length.
        gallery: (G, D), unit length.
        relevance: Positives and junk of the Q queries.

    Returns:
        Per query (P,) int64 ranks of its positives, from 0, ascending.
    """
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    judged = zip(order, relevance.relevant, relevance.ignored, strict=True)
    return [positions_of(ranking, relevant, ignored) for ranking, relevant, ignored in judged]


RESAMPLES = 10_000
CONFIDENCE = 0.95
_RESAMPLES_AT_ONCE = 500
_SEED = 20230618

Means = NDArray[np.float64]
Statistic = Callable[[Means, Means], Means]


def difference(first: Means, second: Means) -> Means:
    """Return the first mean minus the second."""
    return first - second


def ratio(first: Means, second: Means) -> Means:
    """Return the first mean divided by the second; 0 where the second is 0."""
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def bootstrap_interval(
    first: Means, second: Means, statistic: Statistic, *, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of two means, by the paired bootstrap over queries.

    Queries are drawn with replacement, the same for both (Efron and Tibshirani, 1993, ch. 13); a fixed seed makes the
    interval a function of its arguments.

    Args:
        first: (Q,) figure of each query: average precisions, or hits; in an ablation the mean over seeds.
        second: (Q,) figure of the same queries by the other method.
        statistic: Takes the means of both, (R,) each, to (R,).
        groups: Q names; queries of one name are drawn together, since queries for one thing succeed and fail together.
            None draws each query alone.
    """
    _, numbers = np.unique(np.arange(len(first)) if groups is None else np.asarray(groups), return_inverse=True)
    sizes, sums_of_first, sums_of_second = (np.bincount(numbers, weights=weights) for weights in (None, first, second))
    generator = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE):
        chosen = generator.integers(len(sizes), size=(_RESAMPLES_AT_ONCE, len(sizes)))
        queries = sizes[chosen].sum(axis=1)
        means = (sums[chosen].sum(axis=1) / queries for sums in (sums_of_first, sums_of_second))
        drawn.append(statistic(*means))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return float(low), float(high)
