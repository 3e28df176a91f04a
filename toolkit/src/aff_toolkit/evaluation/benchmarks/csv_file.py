"""A benchmark that a CSV file lists."""

from __future__ import annotations

from pathlib import Path

from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, instance_benchmark
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.training.data.csv_file import csv_photographs


def csv_benchmark(path: Path, *, min_side: int | None = None) -> Benchmark:
    """Return the benchmark of a CSV file with the columns path, instance and role: query, gallery or distractor.

    Rows of other roles are left out. A distractor is a gallery image; it is a positive of no query, unless a query
    bears its instance.

    Args:
        path: The file; its paths are relative to it.
        min_side: See load_photograph_file.

    Raises:
        PhotographListError: See csv_photographs.
        NothingToScoreError: No query has a positive.
    """
    protocol = Protocol(
        name="csv",
        description=f"{path.parent.name}/{path.name}: query against gallery + distractor; whole image",
        queries=csv_photographs(path, ["query"], min_side=min_side),
        gallery=csv_photographs(path, ["gallery", "distractor"], min_side=min_side),
    )
    return instance_benchmark(protocol)
