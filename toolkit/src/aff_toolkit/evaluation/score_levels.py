"""Meaning of the scores of a bundle: the similarities from which hits show the same thing, or probably do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression  # type: ignore[attr-defined] # its __all__ is computed

from aff_shared.bundles.bundle import ScoreLevels
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import Relevance

SAME, LIKELY = 0.95, 0.5


def score_levels(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], relevance: Relevance, protocol: Protocol
) -> ScoreLevels:
    """Return the levels of the scores of queries against a gallery, both of them not trained on.

    Every gallery image is a hit of every query that has a positive; junk is left out. The share of hits that are
    positives is fitted as a function of the score that does not fall (isotonic regression, least squares, all hits
    weigh the same). A level is the lowest score at which the mean of the fit over all hits at or above it is at least
    95 % (`same`) or 50 % (`likely`). Without the fit, a few lucky hits at the top could decide.

    Args:
        queries: (Q, D) float32, unit length: of the query encoder.
        gallery: (G, D) float32, unit length: of the mixer.
        relevance: Positives and junk of the Q queries.
        protocol: For the description.
    """
    scores, matches, asked = [], [], 0
    for query, relevant, ignored in zip(queries, relevance.relevant, relevance.ignored, strict=True):
        if not len(relevant):
            continue
        asked += 1
        counted = np.ones(len(gallery), bool)
        counted[ignored] = False
        is_match = np.zeros(len(gallery), bool)
        is_match[relevant] = True
        scores.append((gallery @ query)[counted])
        matches.append(is_match[counted])
    found, is_positive = np.concatenate(scores), np.concatenate(matches)
    return ScoreLevels(
        same=level(found, is_positive, SAME),
        likely=level(found, is_positive, LIKELY),
        protocol=protocol.description,
        queries=asked,
        gallery=len(gallery),
    )


def level(scores: NDArray[np.float32], matches: NDArray[np.bool_], share: float) -> float | None:
    """Return the lowest score at which the fitted share of matches at or above it is at least `share`.

    Args:
        scores: (N,) float32 similarities of hits.
        matches: (N,) whether the hit shows the same thing.
        share: From 0 to 1.

    Returns:
        The score; None if there is none.
    """
    values, place = np.unique(scores, return_inverse=True)
    hits = np.bincount(place).astype(np.float64)
    fitted = isotonic_regression(np.bincount(place, weights=matches) / hits, weights=hits).x
    share_above = np.cumsum((fitted * hits)[::-1]) / np.cumsum(hits[::-1])
    enough = np.flatnonzero(share_above >= share - 1e-12)  # of sums of floats
    return float(values[::-1][enough[-1]]) if len(enough) else None
