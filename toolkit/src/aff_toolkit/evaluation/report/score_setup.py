"""From rankings to the figures of one setup of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_toolkit.evaluation.benchmarks.benchmark import Judgements, Rule
from aff_toolkit.evaluation.rankings.rankings import Rankings
from aff_toolkit.evaluation.retrieval_scores import average_precision_at, score_positions
from aff_toolkit.evaluation.revisited_scores import score_revisited_positions

_RECALL_LEVELS = 101

Positions = NDArray[np.int64]


class SetupScores(BaseModel):
    """Figures of one setup, from 0 to 1.

    Attributes:
        queries: Queries that were scored: they belong to the setup and have a positive in the gallery.
        left_out: Queries of the setup without a positive.
        figures: mAP and what else the benchmark reports.
        average_precisions: For every query of the benchmark; None where it was not scored.
        precision_at_recall: Interpolated precision at the recall levels 0, 0.01 ... 1, mean over queries.
    """

    model_config = ConfigDict(frozen=True)

    queries: int
    left_out: int
    figures: dict[str, float]
    average_precisions: tuple[float | None, ...]
    precision_at_recall: tuple[float, ...]


def score_setup(rankings: Rankings, judged: Judgements, rule: Rule) -> SetupScores:
    """Score rankings in one setup.

    A positive that is not ranked counts as not found, so a query that could not be read scores 0.

    Args:
        rankings: Rankings of Q queries.
        judged: Positives and ignored images of each query.
        rule: See Benchmark.
    """
    members = np.flatnonzero(judged.members).tolist()
    scored = [query for query in members if len(judged.relevant[query])]
    positions = [positions_of_query(rankings, judged, query) for query in scored]
    positives = [len(judged.relevant[query]) for query in scored]
    figures, averages = _by_rule(rule, positions, positives)
    by_query = dict(zip(scored, averages, strict=True))
    curves = [precision_at_recall(found, count) for found, count in zip(positions, positives, strict=True)]
    return SetupScores(
        queries=len(scored),
        left_out=len(members) - len(scored),
        figures=figures,
        average_precisions=tuple(by_query.get(query) for query in range(len(judged.members))),
        precision_at_recall=tuple(np.mean(curves, axis=0).tolist()),
    )


def positions_of_query(rankings: Rankings, judged: Judgements, query: int) -> Positions:
    """Return the ranks of a query's positives that were found, from 0, ascending, once the ignored are taken out."""
    positive = _ranks(rankings, query, judged.relevant[query])
    ignored = _ranks(rankings, query, judged.ignored[query])
    return positive - np.searchsorted(ignored, positive)


def precision_at_recall(positions: Positions, positives: int) -> NDArray[np.float64]:
    """Return the interpolated precision of one query: the greatest one at that recall or a higher one.

    Args:
        positions: (P,) int64 ranks of the positives that were found, from 0, ascending.
        positives: Number of positives in the gallery, at least 1.

    Returns:
        (101,) float64 at the recall levels 0, 0.01 ... 1; 0 beyond the recall that was reached.
    """
    precisions = np.arange(1, len(positions) + 1) / (positions + 1)
    best_from = np.append(np.maximum.accumulate(precisions[::-1])[::-1], 0.0)
    percent = np.arange(_RECALL_LEVELS)
    needed = np.maximum(-(-percent * positives // (_RECALL_LEVELS - 1)), 1)
    curve: NDArray[np.float64] = best_from[np.minimum(needed - 1, len(positions))]
    return curve


def _ranks(rankings: Rankings, query: int, rows: NDArray[np.int64]) -> Positions:
    places = np.searchsorted(rankings.labelled[query], np.unique(rows))
    ranks = rankings.ranks[query][places]
    return np.sort(ranks[ranks >= 0])


def _by_rule(
    rule: Rule, positions: Sequence[Positions], positives: Sequence[int]
) -> tuple[dict[str, float], list[float | None]]:
    """Return the figures, and the average precision of each query."""
    if rule == "trapezoid":
        revisited = score_revisited_positions(positions, positives)
        precisions = {f"mp_at_{rank}": value for rank, value in revisited.mean_precisions.items()}
        return {"map": revisited.map, **precisions}, list(revisited.average_precisions)
    scores = score_positions(positions, positives, gallery=0).model_dump(exclude={"queries", "gallery"})
    return scores, [average_precision_at(found, count) for found, count in zip(positions, positives, strict=True)]
