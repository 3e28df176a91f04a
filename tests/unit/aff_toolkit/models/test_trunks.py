"""Networks of timm and torchvision by name, with stand-ins for the libraries, and with timm where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from aff_shared.errors import MissingExtraError
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import load_onnx_weights
from aff_toolkit.models.pretrained_weights import load_pretrained_trunk
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder, query_backbone_of
from aff_toolkit.training.recipe import TrainingRecipe
from tests.support.released_checkpoints import randomise
from tests.support.settled_query_encoder import coloured_tiles
from tests.support.timm_models import timm_or_skip
from tests.support.tiny_training import tiny_recipe

D, SIZE, CHANNELS = 16, 64, 12
MEAN, STD = (0.5, 0.4, 0.3), (0.3, 0.4, 0.5)


class Network(nn.Module):
    """Layers named as those of torchvision's ResNet; without `fc`, `forward` ends with the map as timm's models do."""

    def __init__(self, *, classifier: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, CHANNELS, 3, stride=2, padding=1), nn.ReLU())
        if classifier:
            self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(CHANNELS, 10)
        self.pretrained_cfg = {"mean": MEAN, "std": STD}

    def forward(self, pixels: Tensor) -> Tensor:
        activations: Tensor = self.layer1(self.bn1(self.conv1(pixels)))
        return activations


class Vectors(nn.Module):
    """Not a convolutional network."""

    pretrained_cfg: ClassVar = {"mean": MEAN, "std": STD}

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3))


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins that have the networks `small` and `vectors`."""
    timm: Any = ModuleType("timm")
    timm.__version__ = "0"
    timm.is_model = lambda name: name in {"small", "vectors"}
    timm.create_model = lambda name, **_: Network(classifier=False) if name == "small" else Vectors()
    monkeypatch.setitem(sys.modules, "timm", timm)
    torchvision: Any = ModuleType("torchvision")

    def get_model(name: str, weights: None) -> nn.Module:
        assert weights is None, "nothing is downloaded"
        if name not in {"small", "vectors"}:
            raise ValueError(f"Unknown model {name}")
        return Network(classifier=True) if name == "small" else nn.Sequential(Vectors())

    torchvision.models = SimpleNamespace(get_model=get_model)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)


def trunk_weights(name: str) -> dict[str, Tensor]:
    network = QUERY_BACKBONES[name].build(D).network
    assert isinstance(network, LightweightEncoder)
    return {key.removeprefix("model."): value for key, value in network.trunk.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:small", "torchvision:small"])
@pytest.mark.usefixtures("libraries")
def test_the_graph_of_a_library_network_returns_its_embeddings_and_restores_its_weights(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, restored = randomise(QUERY_BACKBONES[name].build(D)).eval(), QUERY_BACKBONES[name].build(D)
    monkeypatch.undo()  # the exporter looks for a real torchvision
    images = coloured_tiles(5, SIZE, seed=1)
    export_query_encoder(encoder, SIZE, tmp_path / "q.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "q.onnx"))  # type: ignore[attr-defined]
    (embeddings,) = session.run(None, {"image": images.numpy()})
    load_onnx_weights(restored, tmp_path / "q.onnx", coloured_tiles(8, SIZE, seed=2))
    with torch.inference_mode():
        expected = encoder(images)
        torch.testing.assert_close(torch.from_numpy(embeddings), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(restored(images), expected, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("libraries")
def test_pixels_are_normalised_as_the_released_weights_expect() -> None:
    pixels = torch.full((1, 3, SIZE, SIZE), 255.0)
    for name, mean, std in (
        ("timm:small", MEAN, STD),
        ("torchvision:small", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ):
        network: Any = QUERY_BACKBONES[name].build(D).network
        expected = (1 - torch.tensor(mean)) / torch.tensor(std)
        torch.testing.assert_close(network._normalisation(pixels)[0, :, 0, 0], expected)


@pytest.mark.usefixtures("libraries")
def test_a_library_network_starts_with_the_file_that_the_library_released(tmp_path: Path) -> None:
    released = randomise(Network(classifier=True)).state_dict()
    torch.save(released, tmp_path / "small.pth")
    (tmp_path / "folder").mkdir()
    save_file(released, tmp_path / "folder" / "model.safetensors")
    for name, source in (("torchvision:small", "small.pth"), ("timm:small", "folder")):
        encoder = QUERY_BACKBONES[name].build(D)
        load_pretrained_trunk(encoder, str(tmp_path / source), None)
        network: Any = encoder.network
        for key, value in network.trunk.state_dict().items():
            torch.testing.assert_close(value, released[key.removeprefix("model.")])
    del released["layer1.0.weight"]
    torch.save(released, tmp_path / "small.pth")
    with pytest.raises(ExtractorUnavailableError, match="layer1"):
        load_pretrained_trunk(QUERY_BACKBONES["torchvision:small"].build(D), str(tmp_path / "small.pth"), None)


@pytest.mark.usefixtures("libraries")
def test_layers_have_the_names_of_the_library_and_no_classifier() -> None:
    names = {"conv1.weight", "layer1.0.weight", "layer1.0.bias"}
    names |= {f"bn1.{one}" for one in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert trunk_weights("torchvision:small").keys() == trunk_weights("timm:small").keys() == names


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:none", "timm 0 has no model 'none'"),
        ("torchvision:none", "Unknown model none"),
        ("timm:vectors", "has no map of activations"),
        ("torchvision:vectors", "has no map of activations"),
    ],
)
def test_a_network_that_cannot_be_used_is_reported_by_its_name(name: str, words: str) -> None:
    with pytest.raises(ExtractorUnavailableError, match=words) as caught:
        QUERY_BACKBONES[name].build(D)
    assert caught.value.item == name


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_without_the_library_the_error_has_the_command_that_installs_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match="pip ") as caught:
        QUERY_BACKBONES[f"{library}:resnet18"].build(D)
    assert "resnet18" in str(caught.value.item)


def test_a_recipe_and_a_bundle_name_a_library_network() -> None:
    recipe = tiny_recipe().model_dump()
    recipe["query_encoder"]["backbone"] = "timm:resnet18.a1_in1k"
    assert TrainingRecipe.model_validate(recipe).query_encoder.backbone == "timm:resnet18.a1_in1k"
    for wrong in ("timm:", "torchvision:a/b", "keras:resnet"):
        recipe["query_encoder"]["backbone"] = wrong
        with pytest.raises(ValueError, match="timm:NAME, torchvision:NAME"):
            TrainingRecipe.model_validate(recipe)
        with pytest.raises(KeyError):
            QUERY_BACKBONES[wrong]
    architecture = QUERY_BACKBONES["torchvision:resnet18"].architecture
    manifest: Any = SimpleNamespace(query_encoder=SimpleNamespace(architecture=architecture))
    assert query_backbone_of(manifest) == "torchvision:resnet18"


@pytest.mark.slow
def test_timm_itself_has_such_networks(tmp_path: Path) -> None:
    timm_or_skip()
    encoder = QUERY_BACKBONES["timm:resnet18"].build(D).eval()
    export_query_encoder(encoder, SIZE, tmp_path / "q.onnx")
    images = coloured_tiles(2, SIZE, seed=1)
    session = onnxruntime.InferenceSession(str(tmp_path / "q.onnx"))  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = encoder(images).numpy()
    assert session.run(None, {"image": images.numpy()})[0] == pytest.approx(expected, abs=1e-5)
