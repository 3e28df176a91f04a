"""A store is read in memory that has nothing to do with its size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.store_description import (
    DESCRIPTION_NAME,
    PHOTOGRAPHS_NAME,
    ExtractorSet,
    StoreSettings,
    describe_store,
)
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.shards import shard_path

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[5]
SIDE, TOKENS, WIDTH = 256, 100, 256
SHARDS, SHARD_PHOTOGRAPHS = 48, 128
LIMIT_MB = 96
SETTINGS = StoreSettings(pixel_size=SIDE, shard_photographs=SHARD_PHOTOGRAPHS)
EXTRACTORS = ExtractorSet(
    (
        ExtractorSpec(
            name="plain",
            family="plain",
            preprocessing=Preprocessing(resize="stretch", size=SIDE),
            features=(FeatureSpec(name="parts", kind="local", dimension=WIDTH, max_tokens=TOKENS),),
            weights_source="none",
        ),
    )
)


def extract(images: Images) -> dict[str, FeatureBatch]:
    B = len(images)
    mask = torch.ones(B, TOKENS, dtype=torch.bool)
    return {"parts": FeatureBatch(torch.ones(B, TOKENS, WIDTH), mask, torch.zeros(B, TOKENS, 2))}


def photograph(row: int) -> Photograph:
    grey = row % SHARD_PHOTOGRAPHS
    return Photograph(f"{row}.jpg", f"{row // 2}", lambda: np.full((SIDE, SIDE, 3), grey, np.uint8))


def write_large_store(directory: Path) -> None:
    """Extract one shard, and use it as each of the shards: the disk stores the files once."""
    photographs = [photograph(row) for row in range(SHARDS * SHARD_PHOTOGRAPHS)]
    extract_features(photographs[:SHARD_PHOTOGRAPHS], EXTRACTORS, extract, directory, SETTINGS, lambda _: None)
    description = describe_store(photographs, EXTRACTORS, SETTINGS)
    (directory / DESCRIPTION_NAME).write_text(description.model_dump_json(), encoding="utf-8")
    lines = [json.dumps([one.name, one.instance]) for one in photographs]
    (directory / PHOTOGRAPHS_NAME).write_text("\n".join(lines), encoding="utf-8")
    first = shard_path(directory, 0)
    for number in range(1, SHARDS):
        path = shard_path(directory, number)
        os.link(first, path)
        os.link(first.with_suffix(".json"), path.with_suffix(".json"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_training_reads_a_store_fifteen_times_larger_than_the_memory_that_it_may_take(tmp_path: Path) -> None:
    write_large_store(tmp_path)
    size_bytes = sum(shard_path(tmp_path, number).stat().st_size for number in range(SHARDS))
    assert size_bytes > 15 * LIMIT_MB * 2**20
    command = [sys.executable, "-m", "tests.support.train_in_little_memory", str(tmp_path), str(LIMIT_MB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["photographs"] == SHARDS * SHARD_PHOTOGRAPHS
    assert seen["pixels"] == SHARDS * sum(range(SHARD_PHOTOGRAPHS)) * SIDE * SIDE * 3
    assert seen["tokens"] == SHARDS * SHARD_PHOTOGRAPHS * TOKENS
    # The same training, with files that are read into memory instead of mapped.
    assert "MemoryError" in seen["loaded"]
