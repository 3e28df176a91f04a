"""Configurations of ablations: those of the project are valid, others are rejected with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_benchmarks.ablation.ablation_config import BenchmarkNotFoundError, UnusableGridError, load_ablation_config
from tests.support.tiny_ablation import TINY_ABLATION_TOML

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/configs/ablation").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_configuration_of_the_project_can_be_read_by_its_name(path: Path) -> None:
    assert load_ablation_config(path.stem).name == path.stem


def test_an_unknown_benchmark_is_reported_with_the_known_ones() -> None:
    with pytest.raises(BenchmarkNotFoundError, match=r"known: .*scenes") as caught:
        load_ablation_config("moon")
    assert caught.value.item == "moon"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("seeds = [1, 2]", "seeds = 1 2", "is not TOML"),
        ("seeds = [1, 2]", "seeds = []", "seeds"),
        ("alphas = [0.0, 0.99]", "alphas = [0.9, 0.99]", "alphas: ascending from 0"),
        ("alphas = [0.0, 0.99]", "alphas = [0.0, 0.9, 0.9]", "alphas: ascending from 0"),
        ("[recipe.evaluation]\nscenes", "[recipe.evaluation]\n# scenes", "set scenes or open_sets"),
        ("mixer = { ", "mixer = { anchor = 'rootsift', ", "only the feature of frozen_trunk can be the anchor"),
    ],
)
def test_an_unusable_configuration_is_rejected(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(TINY_ABLATION_TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(UnusableGridError, match=reason):
        load_ablation_config(str(path))
