"""From rankings to the figures of each setup of a benchmark, and the report of all modes and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_toolkit.evaluation.benchmark import Benchmark, Judgements, Rule
from aff_toolkit.evaluation.evaluation_record import BASELINE_DIMENSIONS, EvaluationConfig, EvaluationRecord, Method
from aff_toolkit.evaluation.rankings import Rankings
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


_RULES = {
    "trapezoid": "AP is the trapezoid area under precision-recall, as the official evaluator of Revisited Oxford and "
    "Paris has it; ignored images are taken out of the ranking",
    "mean_precision": "AP is the mean of the precisions at the ranks of the positives; mAP@100 is GLDv2's",
}
_FIGURE_NAMES = {"map": "mAP", "recall": "R", "mp": "mP"}
_METHOD_NAMES: dict[Method, str] = {
    "asymmetric": "asymmetric",
    "symmetric": "symmetric",
    "light-only": "light only (query encoder on both sides)",
    "colour-histogram": "colour histogram",
    "rootsift-vlad": "RootSIFT + VLAD",
    "features": "given features",
    "rankings": "given rankings",
}


class ModeReport(BaseModel):
    """Figures of one mode or one baseline.

    Attributes:
        name: Displayed name.
        dimension: Dimension of the embeddings.
        setups: Scores by name of the setup.
        unreadable_queries: Reasons why queries could not be read; each scores 0.
        unreadable_gallery: Reasons why gallery images are not ranked; a positive among them counts as not found.
        seconds: Durations by step in seconds; embeddings of an earlier run are reused.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    dimension: int
    setups: dict[str, SetupScores]
    unreadable_queries: tuple[str, ...]
    unreadable_gallery: tuple[str, ...]
    seconds: dict[str, float]


class EvaluationReport(BaseModel):
    """A scored evaluation.

    Attributes:
        protocol: Benchmark, crop, dimension, way of searching, sizes and rule, in words.
        query_names: Names of all queries, in the order of the average precisions.
        modes: By mode, then by baseline.
    """

    model_config = ConfigDict(frozen=True)

    benchmark: str
    protocol: str
    bundle: str
    fingerprint: str
    space_id: str
    dimension: int
    precision: str
    queries: int
    gallery: int
    configuration: EvaluationConfig
    query_names: tuple[str, ...]
    modes: dict[Method, ModeReport]

    @property
    def title(self) -> str:
        """Bundle and benchmark."""
        return f"{self.bundle} on {self.configuration.benchmark.label}"


def score_rankings(
    record: EvaluationRecord, benchmark: Benchmark, rankings: Mapping[Method, Rankings]
) -> EvaluationReport:
    """Score the rankings of each mode and baseline in every setup.

    Args:
        record: Record of the evaluation.
        benchmark: The same benchmark.
        rankings: By mode or baseline, at least one.
    """
    modes = {
        method: ModeReport(
            name=method_name(method),
            dimension=BASELINE_DIMENSIONS.get(method, record.dimension),
            setups={judged.setup: score_setup(found, judged, benchmark.rule) for judged in benchmark.judgements},
            unreadable_queries=tuple(found.unreadable_queries.values()),
            unreadable_gallery=tuple(found.unreadable_gallery.values()),
            seconds=found.seconds,
        )
        for method, found in rankings.items()
    }
    return EvaluationReport(
        benchmark=benchmark.name,
        protocol=_protocol(record, benchmark),
        bundle=record.bundle,
        fingerprint=record.fingerprint,
        space_id=record.space_id,
        dimension=record.dimension,
        precision=record.precision,
        queries=len(benchmark.queries),
        gallery=len(benchmark.gallery),
        configuration=record.config,
        query_names=tuple(query.name for query in benchmark.queries),
        modes=modes,
    )


def _protocol(record: EvaluationRecord, benchmark: Benchmark) -> str:
    sizes = f"{len(benchmark.queries)} queries, {len(benchmark.gallery)} gallery images; {_RULES[benchmark.rule]}."
    if record.config.given == "rankings":
        return f"{benchmark.description}; given rankings, what they do not contain counts as not found; {sizes}"
    if record.config.given == "features":
        similarity = record.config.similarity.replace("-", " ")
        return (
            f"{benchmark.description}; given features of {record.dimension} dimensions; exact search by {similarity}; "
            f"{sizes}"
        )
    search = f"exact search, query encoder in {record.precision}"
    if record.config.search == "live":
        depth = min(record.config.depth, len(benchmark.gallery))
        search = (
            f"live search over HTTP, exact or approximate as the store decides; what is not among the first {depth} "
            "hits counts as not found"
        )
    return f"{benchmark.description}; single scale; {record.dimension} dimensions; {search}; {sizes}"


def figure_name(key: str) -> str:
    """Return `mAP@100` for `map_at_100`, `R@1` for `recall_at_1`, `mP@5` for `mp_at_5`."""
    figure, _, rank = key.partition("_at_")
    return f"{_FIGURE_NAMES[figure]}@{rank}" if rank else _FIGURE_NAMES[figure]


def method_name(method: Method) -> str:
    """Return the name of a mode, or that of a baseline with its dimension: `RootSIFT + VLAD, 8,192-d`."""
    return _METHOD_NAMES[method] + (f", {BASELINE_DIMENSIONS[method]:,}-d" if method in BASELINE_DIMENSIONS else "")
