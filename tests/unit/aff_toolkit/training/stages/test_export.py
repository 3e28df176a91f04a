"""A pair that is stored in half precision embeds as the one in single precision does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.scenes import render_view
from aff_toolkit.errors import ExportMismatchError, QuantisationError
from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import BaseBundle, load_onnx_weights
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.features.feature_store import CalibrationPhotographs, FeatureStore, sample_readable
from aff_toolkit.training.stages.export import (
    INT8_QUERY_ENCODER_FILE,
    QUERY_ENCODER_FILE,
    QueryGraphs,
    TrainedPair,
    export_pair,
)
from aff_toolkit.weights.half_weights import Stored
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_query_encoder import tiny_query_encoder
from tests.support.tiny_training import TinyTraining, tiny_recipe

pytestmark = pytest.mark.slow

BACKBONE, D, SIZE = "residual-16", 128, 112
PHOTOGRAPHS = [render_view(scene, 0, size=(120, 160)) for scene in range(4)]


def write_tiny_pair(directory: Path, stored: Stored) -> BaseBundle:
    """Write the pair of the tests' bundle, and its extractors next to it."""
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


SIZE_QUERY_GRAPHS = 32


@pytest.fixture
def graphs(tiny_training: TinyTraining, tmp_path: Path) -> QueryGraphs:
    store = FeatureStore.open(tiny_training.work / "features")
    photographs = CalibrationPhotographs(
        store, sample_readable(store, 12, seed=1), Preprocessing(resize="stretch", size=SIZE_QUERY_GRAPHS)
    )
    manifest = write_dummy_bundle(tmp_path, dimension=8, int8_query_encoder=b"a graph of an earlier run")
    return QueryGraphs(tmp_path, manifest, photographs)


@pytest.fixture
def exported(graphs: QueryGraphs) -> QueryEncoder:
    encoder = settled_query_encoder(8, SIZE_QUERY_GRAPHS)
    export_query_encoder(encoder, SIZE_QUERY_GRAPHS, graphs.directory / QUERY_ENCODER_FILE)
    return encoder


def test_the_graph_of_the_trained_network_passes(graphs: QueryGraphs, exported: QueryEncoder) -> None:
    figures = graphs.require_trained_network(exported, 0.9999)
    assert figures.photographs == 12
    assert 0.9999 <= figures.min_cosine <= figures.mean_cosine <= 1 + 1e-6
    assert (graphs.directory / QUERY_ENCODER_FILE).exists()


def test_the_graph_of_another_network_is_rejected_and_deleted(graphs: QueryGraphs, exported: QueryEncoder) -> None:
    with torch.no_grad():
        exported.network.whitening[0].weight[0] *= -1
    with pytest.raises(ExportMismatchError, match="12 photographs"):
        graphs.require_trained_network(exported, 0.9999)
    assert not (graphs.directory / QUERY_ENCODER_FILE).exists()


def test_the_int8_graph_is_compared_to_the_float32_one_and_can_be_dropped(
    graphs: QueryGraphs, exported: QueryEncoder
) -> None:
    assert exported
    figures = graphs.quantise()
    assert figures.photographs == 12
    assert 0.5 < figures.min_cosine < 1
    graphs.drop_int8()
    assert not (graphs.directory / INT8_QUERY_ENCODER_FILE).exists()
    graphs.drop_int8()


def test_a_graph_that_cannot_be_quantised_is_reported(graphs: QueryGraphs) -> None:
    (graphs.directory / QUERY_ENCODER_FILE).write_bytes(tiny_query_encoder())
    with pytest.raises(QuantisationError, match="nothing to quantise"):
        graphs.quantise()
