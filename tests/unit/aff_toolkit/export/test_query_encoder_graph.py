"""The int8 graph has the inputs and outputs of the float32 graph, with weights of 8 bits with a scale per channel."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_toolkit.errors import QuantisationError
from aff_toolkit.export.query_encoder_graph import export_query_encoder, quantise_query_encoder
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.weights.half_weights import halve_weights
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_query_encoder import tiny_query_encoder

pytestmark = pytest.mark.slow

SIZE = 32
CALIBRATION = [coloured_tiles(8, SIZE, seed=seed).numpy() for seed in range(3)]
# Channels out and in of the three convolutions of each block, by hand: width 4, blocks of 8, 16 and 32 channels; and of
# the whitening layer.
QUANTISED = {
    "network.whitening.0.weight": (8, 32),
    **{
        f"network.{block}.{layer}.weight": (channels, inputs if layer != "body.3" else channels)
        for block, inputs, channels in (("middle.3", 4, 8), ("middle.4", 8, 16), ("top", 16, 32))
        for layer in ("body.0", "body.3", "shortcut.0")
    },
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BundleManifest]:
    directory = tmp_path_factory.mktemp("quantised")
    manifest = write_dummy_bundle(directory, dimension=8, int8_query_encoder=b"to be overwritten")
    fp32, int8 = (directory / path for path in manifest.query_files)
    export_query_encoder(settled_query_encoder(8, SIZE), SIZE, fp32)
    quantise_query_encoder(fp32, CALIBRATION, int8)
    return directory, manifest


@pytest.fixture(scope="module")
def int8_graph(bundle: tuple[Path, BundleManifest]) -> ModelProto:
    directory, manifest = bundle
    return onnx.load(directory / str(manifest.query_encoder.int8_model))


def initialisers(model: ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("batch", [1, 5])
def test_it_returns_nearly_the_embeddings_of_the_float32_graph(bundle: tuple[Path, BundleManifest], batch: int) -> None:
    directory, manifest = bundle
    fp32, int8 = (
        OnnxQueryEncoder.load(directory, manifest, threads=1, precision=precision) for precision in ("fp32", "int8")
    )
    photographs = list(CALIBRATION[0][:batch])
    cosines = np.sum(fp32.encode(photographs) * int8.encode(photographs), axis=1)
    assert cosines.shape == (batch,)
    assert cosines.min() > 0.98
    assert cosines.max() < 1 - 1e-7, "nothing was quantised"


def test_weights_between_the_convolutions_and_of_the_whitening_have_8_bits_and_a_scale_per_channel(
    int8_graph: ModelProto,
) -> None:
    found = initialisers(int8_graph)
    assert {name for name in found if name.endswith(".weight_quantized")} == {f"{name}_quantized" for name in QUANTISED}
    for name, (channels, inputs) in QUANTISED.items():
        weights, scales = found[f"{name}_quantized"], found[f"{name}_scale"]
        assert weights.dtype == np.int8
        assert weights.shape[:2] == (channels, inputs)
        assert scales.shape == (channels,)
        assert len(np.unique(scales)) > channels // 2
    axes = {
        a.i for node in int8_graph.graph.node for a in node.attribute if a.name == "axis" and node.input[0] in found
    }
    assert axes == {0}


def test_sums_of_two_products_fit_16_bits_so_that_every_processor_computes_the_same(int8_graph: ModelProto) -> None:
    weights = [value for name, value in initialisers(int8_graph).items() if name.endswith(".weight_quantized")]
    largest = max(int(np.abs(value.astype(np.int32)).max()) for value in weights)
    assert 2 * 255 * largest <= np.iinfo(np.int16).max
    assert largest > 60


def test_the_first_convolution_stays_float32(int8_graph: ModelProto) -> None:
    assert initialisers(int8_graph)["network.middle.0.weight"].dtype == np.float32


def test_the_file_is_sound_and_names_no_path_of_the_machine_that_wrote_it(
    bundle: tuple[Path, BundleManifest], int8_graph: ModelProto
) -> None:
    directory, manifest = bundle
    content = (directory / str(manifest.query_encoder.int8_model)).read_bytes()
    assert b"site-packages" not in content
    assert str(directory).encode() not in content
    onnx.checker.check_model(int8_graph, full_check=True)


def test_a_graph_whose_weights_are_halved_is_quantised_as_well(tmp_path: Path) -> None:
    whole, half, int8 = TINY_BUNDLE / "query_encoder.onnx", tmp_path / "half.onnx", tmp_path / "int8.onnx"
    shutil.copyfile(whole, half)
    halve_weights(half)
    photographs = coloured_tiles(8, 112, seed=0).numpy()
    quantise_query_encoder(half, [photographs], int8)
    weights = [value for name, value in initialisers(onnx.load(int8)).items() if name.endswith(".weight_quantized")]
    assert [value.dtype for value in weights] == [np.int8] * len(QUANTISED)
    spec = load_manifest(TINY_BUNDLE).query_encoder.preprocessing
    by_whole, by_int8 = (
        OnnxQueryEncoder.open(path, spec, 128, threads=1).encode(list(photographs)) for path in (whole, int8)
    )
    assert np.sum(by_whole * by_int8, axis=1).min() > 0.98


def test_it_cannot_be_made_without_photographs(bundle: tuple[Path, BundleManifest], tmp_path: Path) -> None:
    directory, manifest = bundle
    with pytest.raises(QuantisationError, match=r"query_encoder\.onnx: ONNX Runtime cannot quantise it"):
        quantise_query_encoder(directory / manifest.query_encoder.model, [], tmp_path / "int8.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_without_convolutions_in_a_row_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "flat.onnx").write_bytes(tiny_query_encoder())
    with pytest.raises(QuantisationError, match="nothing to quantise"):
        quantise_query_encoder(tmp_path / "flat.onnx", CALIBRATION, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


SIDE = 32


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[QueryEncoder, OnnxQueryEncoder]:
    directory = tmp_path_factory.mktemp("exported")
    encoder = settled_query_encoder(8, SIDE)
    manifest = write_dummy_bundle(directory, dimension=8)
    export_query_encoder(encoder, SIDE, directory / manifest.query_encoder.model)
    return encoder, OnnxQueryEncoder.load(directory, manifest, threads=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_returns_what_torch_returns(encoders: tuple[QueryEncoder, OnnxQueryEncoder], batch: int) -> None:
    trained, exported = encoders
    images = coloured_tiles(batch, SIDE, seed=batch)
    with torch.inference_mode():
        expected = trained(images).numpy()
    np.testing.assert_allclose(exported.encode(list(images.numpy())), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_file_names_no_path_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    export_query_encoder(settled_query_encoder(8, 32), 32, path)
    content = path.read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[4]).encode() not in content
    onnx.checker.check_model(path)
