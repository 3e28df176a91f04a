"""Builds the HNSW graph of a shard that no one else has open.

`python -m aff_shared.store.embedded.edge_optimize SHARD`, with the directory of the shard.
"""

from __future__ import annotations

import os
import sys

import qdrant_edge as edge


def main() -> None:
    """Build it, and clear away the vectors of deleted points."""
    os.nice(10)  # the services go first
    shard = edge.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.close()


if __name__ == "__main__":
    main()
