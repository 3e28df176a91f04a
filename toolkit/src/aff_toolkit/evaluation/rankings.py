"""Rankings, and exact search: all queries against all gallery images, in memory independent of the gallery's size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.embeddings import Chunk, EmbeddingRows
from aff_toolkit.evaluation.relevance import Ragged

_QUERY_BLOCK = 256

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


def search_exactly(
    queries: EmbeddingRows, gallery: EmbeddingRows, labelled: Ragged, depth: int, on_progress: Callable[[int], None]
) -> Rankings:
    """Rank the gallery for each query by cosine similarity; equal scores are in the order of gallery rows.

    The rank of a labelled image is the number of gallery images with a greater score, or with an equal one and a
    lower row, as in a sorted gallery.

    Args:
        queries: Q embeddings.
        gallery: G embeddings of the same space.
        labelled: Gallery rows of each query whose ranks are computed.
        depth: Gallery images kept per ranking.
        on_progress: Called with the number of queries done since the last call.
    """
    depth = min(depth, gallery.count)
    rows = np.full((queries.count, depth), NOT_RANKED, np.int64)
    scores = np.full((queries.count, depth), -np.inf, np.float32)
    ranks = np.zeros(len(labelled.values), np.int64)
    for query_chunk in queries.chunks():
        for start in range(0, len(query_chunk.embeddings), _QUERY_BLOCK):
            matrix = query_chunk.embeddings[start : start + _QUERY_BLOCK]
            block = range(query_chunk.first + start, query_chunk.first + start + len(matrix))
            _search_block(np.asarray(matrix), block, gallery, labelled, (rows, scores, ranks))
            on_progress(len(block))
    _leave_out_unreadable(queries, gallery, labelled, (rows, scores, ranks))
    return Rankings(
        rows, scores, labelled, labelled.with_values(ranks), dict(queries.unreadable), dict(gallery.unreadable)
    )


def _search_block(
    matrix: Scores, block: range, gallery: EmbeddingRows, labelled: Ragged, found: tuple[Rows, Scores, Rows]
) -> None:
    """Fill in what is found for the queries of a block."""
    rows, scores, ranks = found
    # The same products twice: an image's own score has to be the very number that it is compared with.
    own = _scores_of_labelled(matrix, block, gallery, labelled)
    for chunk in gallery.chunks():
        for query, similarities in zip(block, _similarities(matrix, chunk), strict=True):
            rows[query], scores[query] = _merge(rows[query], scores[query], similarities, chunk.first)
            place = labelled.place(query)
            ranks[place] += _images_before(similarities, chunk.first, labelled[query], own[query - block.start])


def _scores_of_labelled(matrix: Scores, block: range, gallery: EmbeddingRows, labelled: Ragged) -> list[Scores]:
    own = [np.zeros(len(labelled[query]), np.float32) for query in block]
    for chunk in gallery.chunks():
        similarities = _similarities(matrix, chunk)
        for number, query in enumerate(block):
            inside = labelled[query] - chunk.first
            here = (inside >= 0) & (inside < len(chunk.readable))
            own[number][here] = similarities[number, inside[here]]
    return own


def _similarities(matrix: Scores, chunk: Chunk) -> Scores:
    """Return (q, n) float32; -inf for what cannot be read."""
    similarities: Scores = matrix @ chunk.embeddings.T
    similarities[:, ~chunk.readable] = -np.inf
    return similarities


def _merge(rows: Rows, scores: Scores, similarities: Scores, first: int) -> tuple[Rows, Scores]:
    """Merge kept and new scores and keep the best; of equal ones the lower row, which is earlier."""
    better = np.flatnonzero(similarities > scores[-1])
    all_scores = np.concatenate([scores, similarities[better]])
    order = np.argsort(-all_scores, kind="stable")[: len(scores)]
    return np.concatenate([rows, better + first])[order], all_scores[order]


def _images_before(similarities: Scores, first: int, rows: Rows, own: Scores) -> Rows:
    """Count for each labelled row the images of a chunk that stand before it in the ranking."""
    count = len(similarities)
    ordered = np.sort(similarities)
    greater = count - np.searchsorted(ordered, own, side="right")
    not_less = count - np.searchsorted(ordered, own, side="left")
    before = np.where(rows >= first + count, not_less, greater)
    for place in np.flatnonzero((rows >= first) & (rows < first + count)):
        before[place] += np.count_nonzero(similarities[: rows[place] - first] == own[place])
    return before


def _leave_out_unreadable(
    queries: EmbeddingRows, gallery: EmbeddingRows, labelled: Ragged, found: tuple[Rows, Scores, Rows]
) -> None:
    rows, scores, ranks = found
    for query in queries.unreadable:
        rows[query], scores[query] = NOT_RANKED, -np.inf
        ranks[labelled.place(query)] = NOT_RANKED
    ranks[np.isin(labelled.values, list(gallery.unreadable))] = NOT_RANKED


NOT_RANKED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The first rows of each ranking, and the ranks of the labelled gallery images in the whole ranking.

    Attributes:
        rows: (Q, k) int64 gallery rows, best first; NOT_RANKED behind the last one.
        scores: (Q, k) float32 similarities; -inf behind the last one, NaN for given rankings.
        labelled: For each query the gallery rows that some setup calls positive or ignored.
        ranks: The rank of each of them, from 0; NOT_RANKED where it was not found. As many lists, of equal lengths.
        unreadable_queries: Reasons why queries were not searched with, by number.
        unreadable_gallery: Reasons why gallery images are not ranked, by row.
        seconds: Durations by step.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    labelled: Ragged
    ranks: Ragged
    unreadable_queries: dict[int, str] = field(default_factory=dict)
    unreadable_gallery: dict[int, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def write_rankings(path: Path, rankings: Rankings, key: str) -> None:
    """Write rankings whole, or not at all.

    Args:
        path: A safetensors file.
        rankings: To be written.
        key: Identity of bundle, benchmark and way of searching.

    Raises:
        RankingsNotWrittenError: The disk is full or not writable.
    """
    arrays = {
        "rows": rankings.rows,
        "scores": rankings.scores,
        "labelled_offsets": rankings.labelled.offsets,
        "labelled_rows": rankings.labelled.values,
        "labelled_ranks": rankings.ranks.values,
    }
    about = {
        "key": key,
        "unreadable_queries": json.dumps(rankings.unreadable_queries),
        "unreadable_gallery": json.dumps(rankings.unreadable_gallery),
        "seconds": json.dumps(rankings.seconds),
    }
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial, metadata=about)
        partial.rename(path)
    except (OSError, SafetensorError) as error:
        raise RankingsNotWrittenError(
            f"{error}; make room and start again: embeddings are kept", item=str(path)
        ) from error


def read_rankings(path: Path, key: str) -> Rankings:
    """Read what `write_rankings` wrote.

    Raises:
        RankingsError: Missing, or no rankings of this release.
        RankingsMismatchError: Written under another key.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        labelled = Ragged(arrays["labelled_offsets"], arrays["labelled_rows"])
        rankings = Rankings(
            rows=arrays["rows"],
            scores=arrays["scores"],
            labelled=labelled,
            ranks=labelled.with_values(arrays["labelled_ranks"]),
            unreadable_queries=_reasons(about["unreadable_queries"]),
            unreadable_gallery=_reasons(about["unreadable_gallery"]),
            seconds=json.loads(about["seconds"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RankingsError(
            f"no rankings of this release: {error}; delete it and evaluate again", item=str(path)
        ) from error
    if about["key"] != key:
        raise RankingsMismatchError(
            "holds rankings of another bundle, benchmark or way of searching; choose another directory", item=str(path)
        )
    return rankings


def _reasons(text: str) -> dict[int, str]:
    return {int(row): reason for row, reason in json.loads(text).items()}
