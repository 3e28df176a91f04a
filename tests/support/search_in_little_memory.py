"""A process that searches a gallery of embeddings within a limit of anonymous memory.

Called as `python -m tests.support.search_in_little_memory QUERIES GALLERY_DIRECTORY GALLERY_COUNT LIMIT_MB`, where
QUERIES is a directory of one embedding shard; prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from aff_toolkit.evaluation.embeddings import Embeddings
from aff_toolkit.evaluation.rankings import search_exactly
from aff_toolkit.evaluation.relevance import Ragged
from tests.support.private_memory_limit import limit_private_memory


def main(queries: Path, gallery: Path, count: int, limit_bytes: int) -> None:
    few, many = Embeddings(queries, 2), Embeddings(gallery, count)
    labelled = Ragged.of([np.array([0, count - 1]), np.array([count // 2])])
    # One shard of it first: the linear algebra library takes its buffers once.
    one_shard = Embeddings(gallery, 1)
    search_exactly(few, one_shard, Ragged.of([np.array([0]), np.array([0])]), 1, lambda _: None)
    limit_private_memory(limit_bytes)
    found = search_exactly(few, many, labelled, 5, lambda _: None)
    seen: dict[str, object] = {"rows": found.rows.tolist(), "ranks": [one.tolist() for one in found.ranks]}
    try:
        np.concatenate([chunk.embeddings for chunk in many.chunks()])
    except MemoryError:
        seen["loaded"] = "MemoryError"
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) * 2**20)
