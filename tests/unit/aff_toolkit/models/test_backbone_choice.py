"""Extractors with released weights, named in a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.backbone_choice import ConvertedChoice, Installation
from gallery_indexer.features.extractors.compact_cnn import CompactCnn, compact_cnn_spec
from gallery_indexer.features.extractors.load_extractor import load_extractor

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def place(directory: Path) -> Installation:
    return Installation(directory, "a recipe", 1, list)


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Output of `aff checkpoints convert`."""
    torch.manual_seed(0)
    save_model(CompactCnn(4, 16, 8), tmp_path / "compact_cnn.safetensors")
    spec = compact_cnn_spec(
        size=32, width=4, global_dimension=16, local_dimension=8, max_tokens=2, weights_source="a test"
    )
    path = tmp_path / "compact_cnn.json"
    path.write_text(spec.model_copy(update={"weights": "compact_cnn.safetensors"}).model_dump_json(), encoding="utf-8")
    return path


def test_the_extractor_works_from_the_directory_that_it_was_installed_in(converted: Path, tmp_path: Path) -> None:
    spec = ConvertedChoice(kind="converted", spec=converted).install(place(tmp_path / "work"))
    original = ExtractorSpec.model_validate_json(converted.read_bytes())
    here, there = load_extractor(original, tmp_path, CPU), load_extractor(spec, tmp_path / "work", CPU)
    torch.testing.assert_close(
        here.extract([IMAGE])["cnn_gem"].values, there.extract([IMAGE])["cnn_gem"].values, rtol=0, atol=0
    )
    assert spec.config == {"width": 4, "precision": "fp32"}


def test_a_recipe_may_request_another_size_and_precision(converted: Path, tmp_path: Path) -> None:
    choice = ConvertedChoice(kind="converted", spec=converted, size=64, precision="bf16")
    spec = choice.install(place(tmp_path / "work"))
    assert (spec.preprocessing.size, spec.config["precision"]) == (64, "bf16")


@pytest.mark.parametrize(("requested", "kept"), [(1, 1), (5, 2)])
def test_fewer_local_descriptors_may_be_kept_but_not_more(
    converted: Path, tmp_path: Path, requested: int, kept: int
) -> None:
    choice = ConvertedChoice(kind="converted", spec=converted, local_tokens=requested)
    spec = choice.install(place(tmp_path / "work"))
    assert [feature.max_tokens for feature in spec.features] == [1, kept]


@pytest.mark.parametrize("missing", ["compact_cnn.json", "compact_cnn.safetensors"])
def test_what_is_missing_is_named_with_the_command_that_makes_it(converted: Path, tmp_path: Path, missing: str) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(ExtractorUnavailableError, match=r"aff checkpoints convert FILE .* --as compact-cnn") as caught:
        ConvertedChoice(kind="converted", spec=converted).install(place(tmp_path / "work"))
    assert caught.value.item == str(tmp_path / missing)


def test_a_damaged_specification_is_named(converted: Path, tmp_path: Path) -> None:
    converted.write_text("{}", encoding="utf-8")
    with pytest.raises(ExtractorUnavailableError) as caught:
        ConvertedChoice(kind="converted", spec=converted).install(place(tmp_path / "work"))
    assert caught.value.item == str(converted)
