"""Scores of Revisited Oxford and Paris for whole rankings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.evaluation.revisited import RevisitedGroundTruth, Setup
from aff_toolkit.evaluation.revisited_scores import RevisitedScores, positions_of, score_revisited_positions


def score_revisited(
    rankings: Sequence[NDArray[np.int64]], truth: RevisitedGroundTruth, setup: Setup
) -> RevisitedScores:
    relevant = [query.relevant(setup) for query in truth.gnd]
    found = [
        positions_of(ranking, rows, query.ignored(setup))
        for ranking, rows, query in zip(rankings, relevant, truth.gnd, strict=True)
    ]
    return score_revisited_positions(found, [len(rows) for rows in relevant])
