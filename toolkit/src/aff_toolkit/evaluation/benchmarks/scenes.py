"""The benchmark that needs no download: procedural landmarks that no training has seen."""

from __future__ import annotations

from dataclasses import replace

from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, protocol_benchmark
from aff_toolkit.evaluation.protocols import scenes_protocol

_QUERIES_EACH = 2
_GALLERY_EACH = 6
_DISTRACTORS_EACH = 8
_DIFFICULTY = 0.5


def scenes_benchmark(instances: int) -> Benchmark:
    """Return a benchmark of held-out landmarks with 2 queries and 6 gallery views each, and 8 distractors for each.

    Args:
        instances: Number of landmarks, at least 1.
    """
    protocol = scenes_protocol(
        instances=instances,
        queries_each=_QUERIES_EACH,
        gallery_each=_GALLERY_EACH,
        distractors=_DISTRACTORS_EACH * instances,
        difficulty=_DIFFICULTY,
    )
    description = (
        f"procedural scenes, held out: {instances} landmarks x {_QUERIES_EACH} queries and {_GALLERY_EACH} gallery "
        f"views, {_DISTRACTORS_EACH * instances} distractors, difficulty {_DIFFICULTY:g}; whole image"
    )
    return protocol_benchmark(replace(protocol, description=description))
