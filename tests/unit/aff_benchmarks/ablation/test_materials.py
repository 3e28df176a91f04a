"""Materials and benchmarks of an ablation."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from aff_benchmarks.ablation.ablation_config import AblationConfig, BenchmarkNotFoundError
from aff_benchmarks.ablation.materials import NOISE, NoiseExtractor, make_materials
from aff_benchmarks.ablation.variant import Benchmark
from aff_toolkit.evaluation.protocols import open_set_protocol
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from tests.support.images import gradient, quarters
from tests.support.tiny_ablation import TINY_ABLATION_TOML


def test_missing_photographs_of_a_benchmark_are_reported_before_any_extraction(tmp_path: Path) -> None:
    document = tomllib.loads(TINY_ABLATION_TOML)
    document["recipe"]["evaluation"]["open_sets"] = [str(tmp_path / "tower.csv")]
    config = AblationConfig.model_validate(document)
    with pytest.raises(BenchmarkNotFoundError, match=r"photographs are missing: .*tower\.csv") as caught:
        make_materials(config, tmp_path / "work", TrainingLog(tmp_path / "log", Console(quiet=True)))
    assert caught.value.item == "toy"
    assert [path.name for path in (tmp_path / "work").iterdir()] == []


def test_positives_and_junk_are_scored_and_unreadable_photographs_are_ignored(tmp_path: Path) -> None:
    for name in ("q", "near", "junk", "other"):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = ["path,instance,role,positives,junk", "q.png,x,query,near.png;broken.png,junk.png"]
    rows += [f"{name}.png,x,gallery,," for name in ("broken", "junk", "other", "near")]
    (tmp_path / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    protocol = open_set_protocol(tmp_path / "list.csv", name="walk")
    for part, photographs in (("queries", protocol.queries), ("gallery", protocol.gallery)):
        settings = StoreSettings(pixel_size=16)
        extract_features(photographs, ExtractorSet(), lambda _: {}, tmp_path / f"walk-{part}", settings, lambda _: None)
    queries = np.array([[1, 0]], np.float32)
    gallery = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], np.float32)  # junk, other, near: the readable ones
    scores, precisions = Benchmark.open(protocol, tmp_path).score(queries, gallery)
    assert precisions == (0.5,)  # near is second without junk
    assert (scores.map, scores.recall_at_1) == (0.5, 0.0)


def test_noise_depends_on_the_photograph_alone() -> None:
    extractor = NoiseExtractor(64)
    noise = extractor.extract([gradient(), quarters(), gradient()])[NOISE]
    first, other, again = noise.values[:, 0]
    assert torch.equal(first, again)
    assert noise.mask.all()
    torch.testing.assert_close(noise.values.norm(dim=-1), torch.ones(3, 1))
    assert abs(float(first @ other)) < 0.5


def test_nearly_equal_photographs_have_different_noise() -> None:
    image = gradient()
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    first, other = NoiseExtractor(64).extract([image, changed])[NOISE].values[:, 0]
    assert not torch.allclose(first, other)
