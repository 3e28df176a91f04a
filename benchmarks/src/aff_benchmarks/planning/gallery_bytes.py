"""How many bytes the parts of a gallery take."""

from __future__ import annotations

from aff_benchmarks.planning.plan_request import PlannedQuantization

BITS_PER_NUMBER: dict[PlannedQuantization, int] = {"none": 32, "int8": 8, "turbo4": 4}
HNSW_M = 16
_BYTES_PER_LINK = 4


def embedding_bytes(dimension: int, quantization: PlannedQuantization) -> float:
    """Return the bytes of one vector of `dimension` numbers, without what a store keeps beside it."""
    return dimension * BITS_PER_NUMBER[quantization] / 8


def graph_bytes(m: int = HNSW_M) -> float:
    """Return the mean bytes of an image's links in an HNSW graph, four each.

    2m on the lowest level; m on each level above, which a node reaches with a probability of 1/m of the level below:
    1/m + 1/m^2 + ... = 1/(m - 1) levels in the mean (Malkov and Yashunin, 2018, section 4.1). Qdrant packs links, so
    this is an upper bound.

    Args:
        m: At least 2.
    """
    return _BYTES_PER_LINK * (2 * m + m / (m - 1))
