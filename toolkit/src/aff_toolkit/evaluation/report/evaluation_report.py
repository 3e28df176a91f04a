"""The report of an evaluation, `report.json`: figures and conditions."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_record import BASELINE_DIMENSIONS, EvaluationConfig, EvaluationRecord, Method
from aff_toolkit.evaluation.rankings.rankings import Rankings
from aff_toolkit.evaluation.report.score_setup import SetupScores, score_setup

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
    search = f"exact search, query encoder in {record.precision}"
    if record.config.search == "live":
        depth = min(record.config.depth, len(benchmark.gallery))
        search = (
            f"live search over HTTP, exact or approximate as the store decides; what is not among the first {depth} "
            "hits counts as not found"
        )
    return (
        f"{benchmark.description}; single scale; {record.dimension} dimensions; {search}; {len(benchmark.queries)} "
        f"queries, {len(benchmark.gallery)} gallery images; {_RULES[benchmark.rule]}."
    )


def figure_name(key: str) -> str:
    """Return `mAP@100` for `map_at_100`, `R@1` for `recall_at_1`, `mP@5` for `mp_at_5`."""
    figure, _, rank = key.partition("_at_")
    return f"{_FIGURE_NAMES[figure]}@{rank}" if rank else _FIGURE_NAMES[figure]


def method_name(method: Method) -> str:
    """Return the name of a mode, or that of a baseline with its dimension: `RootSIFT + VLAD, 8,192-d`."""
    return _METHOD_NAMES[method] + (f", {BASELINE_DIMENSIONS[method]:,}-d" if method in BASELINE_DIMENSIONS else "")
