"""A query encoder comes back from the graph that it was exported to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from aff_shared.errors import BundleFormatError
from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.models.onnx_weights import load_onnx_weights
from aff_toolkit.models.query_encoder import residual_query_encoder
from aff_toolkit.weights.half_weights import halve_weights
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_query_encoder import tiny_query_encoder

SIZE, D = 32, 8


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "encoder.onnx"
    export_query_encoder(settled_query_encoder(D, SIZE), SIZE, path)
    return path


@pytest.mark.slow
@torch.no_grad()
def test_it_computes_what_it_computed_before_the_export(exported: Path) -> None:
    encoder = residual_query_encoder(4, D)
    load_onnx_weights(encoder, exported, coloured_tiles(24, SIZE, seed=5))
    images = coloured_tiles(6, SIZE, seed=9)
    torch.testing.assert_close(encoder(images), settled_query_encoder(D, SIZE)(images), rtol=0, atol=1e-4)


@torch.no_grad()
def test_it_computes_nearly_the_same_in_training_on_the_images_that_it_was_set_on(exported: Path) -> None:
    encoder, images = residual_query_encoder(4, D), coloured_tiles(64, SIZE, seed=5)
    load_onnx_weights(encoder, exported, images)
    expected = encoder(images)
    torch.testing.assert_close(encoder.train()(images), expected, rtol=0, atol=5e-3)


@torch.no_grad()
def test_it_is_restored_from_a_graph_whose_weights_are_halved(tmp_path: Path) -> None:
    whole, half, images = TINY_BUNDLE / "query_encoder.onnx", tmp_path / "half.onnx", coloured_tiles(8, 112, seed=5)
    shutil.copyfile(whole, half)
    halve_weights(half)
    encoders = [residual_query_encoder(16, 128) for _ in range(2)]
    for encoder, path in zip(encoders, (whole, half), strict=True):
        load_onnx_weights(encoder, path, images)
    shown = coloured_tiles(6, 112, seed=9)
    torch.testing.assert_close(encoders[1](shown), encoders[0](shown), rtol=0, atol=1e-3)


def test_another_width_or_another_network_is_rejected(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_query_encoder())
    for encoder, path in (
        (residual_query_encoder(8, D), exported),
        (residual_query_encoder(4, D), tmp_path / "other.onnx"),
    ):
        with pytest.raises(BundleFormatError, match="train one from scratch"):
            load_onnx_weights(encoder, path, coloured_tiles(4, SIZE, seed=0))
