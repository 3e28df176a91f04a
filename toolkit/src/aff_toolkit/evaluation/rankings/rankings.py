"""Rankings: the results of a search for each query, and their file format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.relevance import Ragged

NOT_RANKED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The first rows of each ranking, and the ranks of the labelled gallery images in the whole ranking.

    Attributes:
        rows: (Q, k) int64 gallery rows, best first; NOT_RANKED behind the last one.
        scores: (Q, k) float32 cosine similarities; -inf behind the last one.
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
