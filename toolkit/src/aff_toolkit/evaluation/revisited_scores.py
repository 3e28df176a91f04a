"""Scores of Revisited Oxford and Paris, identical to the official evaluator's (Radenovic et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

RANKS = (1, 5, 10)


class RevisitedScores(BaseModel):
    """Figures of one setup, from 0 to 1.

    Attributes:
        map: Mean over the queries that have a positive.
        mean_precisions: mP@1, mP@5 and mP@10, as mapping from rank to figure.
        average_precisions: Per query; None where the setup has no positive for it.
    """

    model_config = ConfigDict(frozen=True)

    map: float
    mean_precisions: dict[int, float]
    average_precisions: tuple[float | None, ...]


def trapezoid_average_precision(positions: NDArray[np.int64], positives: int) -> float:
    """Return the area under the precision-recall curve by the trapezoid rule.

    Args:
        positions: (P,) int64 ranks of the positives that were found, from 0, ascending.
        positives: Number of positives in the gallery, at least 1.
    """
    found = np.arange(len(positions))
    before = np.where(positions == 0, 1.0, found / np.maximum(positions, 1))
    after = (found + 1) / (positions + 1)
    return float((before + after).sum() / (2 * positives))


def precision_at(positions: NDArray[np.int64], rank: int) -> float:
    """Return the official precision at a rank: the rank is reduced to that of the last positive, if it is lower.

    Args:
        positions: (P,) int64 ranks of the positives that were found, from 0, ascending.
        rank: At least 1.
    """
    if not len(positions):
        return 0.0
    reduced = min(int(positions[-1]) + 1, rank)
    return float((positions < reduced).sum() / reduced)


def positions_of(
    ranking: NDArray[np.int64], relevant: NDArray[np.int64], ignored: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the ranks of the positives, from 0, once the ignored images are taken out.

    Args:
        ranking: (G,) int64 gallery rows, best first.
        relevant: Gallery rows of the positives.
        ignored: Gallery rows that count neither way.
    """
    positive = np.flatnonzero(np.isin(ranking, relevant))
    junk = np.flatnonzero(np.isin(ranking, ignored))
    return positive - np.searchsorted(junk, positive)


def score_revisited_positions(positions: Sequence[NDArray[np.int64]], positives: Sequence[int]) -> RevisitedScores:
    """Score one ranking per query by the ranks of its positives.

    Args:
        positions: Per query (P,) int64 ranks of the positives that were found, from 0, ascending, once the ignored
            images are taken out.
        positives: Per query the number of positives; queries without any are left out.

    Raises:
        ValueError: No query has a positive.
    """
    averages = [
        trapezoid_average_precision(found, count) if count else None
        for found, count in zip(positions, positives, strict=True)
    ]
    scored = [found for found, count in zip(positions, positives, strict=True) if count]
    if not scored:
        raise ValueError("no query has a positive in the gallery")
    return RevisitedScores(
        map=float(np.mean([average for average in averages if average is not None])),
        mean_precisions={rank: float(np.mean([precision_at(found, rank) for found in scored])) for rank in RANKS},
        average_precisions=tuple(averages),
    )
