"""A gallery of a million images is searched in memory that does not grow with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gallery_indexer.features.shards import shard_path, write_shard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
SHARDS, SHARD_PHOTOGRAPHS, DIMENSION = 977, 1024, 128
LIMIT_MB = 24


def write_embeddings(directory: Path, angles: np.ndarray) -> None:
    """Write a shard of unit vectors in the plane of the first two axes."""
    embeddings = np.zeros((len(angles), DIMENSION), np.float32)
    embeddings[:, 0], embeddings[:, 1] = np.cos(angles), np.sin(angles)
    directory.mkdir()
    write_shard(
        shard_path(directory, 0), {"embeddings": embeddings, "readable": np.ones(len(angles), np.bool_)}, unreadable={}
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_million_images_are_searched_in_a_twentieth_of_their_size(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "queries", np.zeros(2))
    write_embeddings(tmp_path / "gallery", np.arange(SHARD_PHOTOGRAPHS) / SHARD_PHOTOGRAPHS)
    first = shard_path(tmp_path / "gallery", 0)
    for number in range(1, SHARDS):
        path = shard_path(tmp_path / "gallery", number)
        os.link(first, path)
        os.link(first.with_suffix(".json"), path.with_suffix(".json"))
    count = SHARDS * SHARD_PHOTOGRAPHS
    assert count * DIMENSION * 4 > 20 * LIMIT_MB * 2**20
    paths = [str(tmp_path / "queries"), str(tmp_path / "gallery"), str(count), str(LIMIT_MB)]
    command = [sys.executable, "-m", "tests.support.search_in_little_memory", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # Place i of every shard looks alike, and the more alike to the queries the smaller i; equal ones by row.
    shard, place = divmod(count // 2, SHARD_PHOTOGRAPHS)
    assert seen["ranks"] == [[0, count - 1], [place * SHARDS + shard]]
    assert seen["rows"] == [[number * SHARD_PHOTOGRAPHS for number in range(5)]] * 2
    # The same embeddings in memory at once.
    assert seen["loaded"] == "MemoryError"
