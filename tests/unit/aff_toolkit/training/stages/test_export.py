"""A pair that is stored in half precision embeds as the one in single precision does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aff_toolkit.data.scenes.view import render_view
from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.onnx_weights import load_onnx_weights
from aff_toolkit.models.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.stages.export import export_pair
from aff_toolkit.training.stages.joint_training import TrainedPair
from aff_toolkit.weights.half_weights import Stored
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.settled_query_encoder import coloured_tiles
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_training import tiny_recipe

BACKBONE, D, SIZE = "residual-16", 128, 112
PHOTOGRAPHS = [render_view(scene, 0, size=(120, 160)) for scene in range(4)]


def write_tiny_pair(directory: Path, stored: Stored) -> BaseBundle:
    """Write the pair of the tests' bundle, and its extractors beside it."""
    base = BaseBundle.open(TINY_BUNDLE)
    encoder = QUERY_BACKBONES[BACKBONE].build(D)
    load_onnx_weights(encoder, TINY_BUNDLE / "query_encoder.onnx", coloured_tiles(8, SIZE, seed=0))
    query_encoder = tiny_recipe().query_encoder.model_copy(update={"backbone": BACKBONE, "input_size": SIZE})
    recipe = tiny_recipe().model_copy(
        update={"dimension": D, "query_encoder": query_encoder, "export": ExportSection(stored=stored)}
    )
    base.copy_gallery_side(directory)
    export_pair(TrainedPair(base.load_mixer(), encoder, torch.zeros(0, D), ()), recipe, directory)
    return BaseBundle(directory, base.manifest)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> BaseBundle:
    return write_tiny_pair(tmp_path_factory.mktemp("fp32"), "fp32")


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> BaseBundle:
    return write_tiny_pair(tmp_path_factory.mktemp("fp16"), "fp16")


def test_large_tensors_of_the_mixer_take_half_the_bytes_and_small_ones_are_as_they_were(
    fp32: BaseBundle, fp16: BaseBundle
) -> None:
    whole, half = (load_file(bundle.directory / "mixer.safetensors") for bundle in (fp32, fp16))
    large = {name for name, tensor in whole.items() if tensor.numel() > 4_000}
    # Of each of the two layers: two of the feed-forward part, the three of the attention in one, and its output; then
    # the projections of the three features.
    assert len(large) == 2 * 4 + 3
    assert {name for name, tensor in half.items() if tensor.dtype == torch.float16} == large
    for name, tensor in whole.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(half[name], tensor.half() if name in large else tensor, rtol=0, atol=0)


def test_the_mixer_is_loaded_as_float32_and_embeds_as_before_within_a_thousandth(
    fp32: BaseBundle, fp16: BaseBundle
) -> None:
    assert {parameter.dtype for parameter in fp16.load_mixer().parameters()} == {torch.float32}
    whole, half = (
        GalleryEncoder.load(bundle.directory, bundle.manifest, device="cpu").encode(PHOTOGRAPHS)
        for bundle in (fp32, fp16)
    )
    np.testing.assert_allclose(half, whole, rtol=0, atol=1e-3)
    assert np.abs(half - whole).max() > 0, "nothing was rounded"


def test_the_query_encoder_embeds_as_before_within_a_thousandth(fp32: BaseBundle, fp16: BaseBundle) -> None:
    whole, half = (
        OnnxQueryEncoder.load(bundle.directory, bundle.manifest, threads=1).encode(PHOTOGRAPHS)
        for bundle in (fp32, fp16)
    )
    np.testing.assert_allclose(half, whole, rtol=0, atol=1e-3)
    assert np.abs(half - whole).max() > 0, "nothing was rounded"


def test_other_users_may_read_the_files(fp16: BaseBundle) -> None:
    assert (fp16.directory / "mixer.safetensors").stat().st_mode & 0o777 == 0o644
