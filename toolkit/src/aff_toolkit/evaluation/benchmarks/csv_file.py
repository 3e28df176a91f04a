"""A benchmark that a CSV file lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, protocol_benchmark
from aff_toolkit.evaluation.protocols import open_set_protocol


def csv_benchmark(path: Path, *, min_side: int | None = None) -> Benchmark:
    """Return the benchmark of a CSV file with the columns path, instance and role.

    A distractor is a gallery image; it is a positive of no query, unless a query bears its instance or lists it.

    Args:
        path: See open_set_protocol.
        min_side: See load_photograph_file.

    Raises:
        PhotographListError: See csv_photographs.
        GroundTruthError: See listed_relevance.
        NothingToScoreError: No query has a positive.
    """
    protocol = open_set_protocol(path, name="csv", min_side=min_side)
    return protocol_benchmark(replace(protocol, description=protocol.description.removesuffix(", exact search")))
