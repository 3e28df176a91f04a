"""The query backbones are the networks of the literature, and leave through the export as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.training.extractor_errors import ExtractorUnavailableError
from aff_toolkit.training.light_network import LightNetwork
from aff_toolkit.training.pretrained_trunk import load_pretrained_trunk
from aff_toolkit.training.query_backbones import QUERY_BACKBONES
from tests.support.released_checkpoints import photograph, randomise

D = 16
# Of the papers' networks without their classifiers; as torchvision and the authors count them.
TRUNKS = {
    "mobilenet-v2-1.0": (2_223_872, 1280),
    "efficientnet-b0": (4_007_548, 1280),
    "efficientnet-b3": (10_696_232, 1536),
    "shufflenet-v2-1.0": (1_253_604, 1024),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_a_network_has_as_many_parameters_as_its_paper_says(name: str) -> None:
    trunk, channels = TRUNKS[name]
    encoder = QUERY_BACKBONES[name].build(D)
    head = channels * D + D + 2 * D + 1  # whitening and its normalisation, the exponent of GeM
    assert sum(parameter.numel() for parameter in encoder.parameters()) == trunk + head


def settle(encoder: nn.Module, images: torch.Tensor) -> None:
    """Give every normalisation the statistics of some images, so that embeddings lie apart as of a trained network."""
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        encoder(images)
    encoder.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet-v2-0.5", "efficientnet-b0", "shufflenet-v2-1.0"])
def test_the_graph_gives_what_the_network_gives_for_any_batch(name: str, tmp_path: Path) -> None:
    images = np.stack([photograph(64, 64), photograph(64, 72)[:, 8:], photograph(72, 64)[8:], 255 - photograph(64, 64)])
    encoder: Any = randomise(QUERY_BACKBONES[name].build(D)).eval()
    settle(encoder, torch.from_numpy(images))
    path = tmp_path / "query_encoder.onnx"
    export_query_encoder(encoder, 64, path)
    session = onnxruntime.InferenceSession(str(path))  # type: ignore[attr-defined]
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images)).numpy()
    assert (expected[:-1] * expected[1:]).sum(axis=1).max() < 0.99  # what is compared says something of the image
    for count in (1, 3):
        (found,) = session.run(None, {"image": images[:count]})
        assert found.shape == (count, D)
        assert (found * expected[:count]).sum(axis=1).min() >= 0.9999


def test_a_trunk_starts_with_the_weights_of_a_folder(tmp_path: Path) -> None:
    from transformers import MobileNetV2Config, MobileNetV2Model  # noqa: PLC0415 - takes seconds

    torch.manual_seed(1)
    model = MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.5)).eval()
    model.save_pretrained(tmp_path)
    encoder = QUERY_BACKBONES["mobilenet-v2-0.5"].build(D).eval()
    load_pretrained_trunk(encoder, str(tmp_path), None)
    pixels = torch.rand(1, 3, 64, 64)
    assert isinstance(encoder.network, LightNetwork)
    with torch.no_grad():
        torch.testing.assert_close(encoder.network.trunk(pixels), model(pixel_values=pixels).last_hidden_state)
    with pytest.raises(ExtractorUnavailableError, match="is not the network of this backbone"):
        load_pretrained_trunk(QUERY_BACKBONES["mobilenet-v2-0.75"].build(D), str(tmp_path), None)
    with pytest.raises(ExtractorUnavailableError, match="no pretrained weights"):
        load_pretrained_trunk(QUERY_BACKBONES["residual-8"].build(D), str(tmp_path), None)
