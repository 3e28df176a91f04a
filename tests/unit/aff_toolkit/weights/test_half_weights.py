"""Halved weights take half the bytes, compute in float32, and are restored under their names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from aff_shared.bundles.bundle import load_manifest
from aff_toolkit.weights.half_weights import halve_weights, restore_weights
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.settled_query_encoder import coloured_tiles
from tests.support.tiny_bundle import TINY_BUNDLE

GRAPH = TINY_BUNDLE / "query_encoder.onnx"
# By hand, of a residual network of width 16: convolutions of 3 x 3 from 16 x 32 channels (4,608 numbers) to 128 x 128,
# the last shortcut, 64 x 128, and the whitening layer, 128 x 128; the next largest is the shortcut 32 x 64.
LARGE = {
    *(f"network.{block}.{layer}.weight" for block in ("middle.3", "middle.4", "top") for layer in ("body.0", "body.3")),
    "network.top.shortcut.0.weight",
    "network.whitening.0.weight",
}


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("halved") / "encoder.onnx"
    shutil.copyfile(GRAPH, path)
    halve_weights(path)
    return path


def initialisers(model: ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_tensors_of_more_than_4000_numbers_are_float16_and_all_others_are_untouched(halved: Path) -> None:
    before, after = initialisers(onnx.load(GRAPH)), initialisers(onnx.load(halved))
    halves = {name: value for name, value in after.items() if value.dtype == np.float16}
    assert set(halves) == {f"{name}_float16" for name in LARGE}
    for name in LARGE:
        np.testing.assert_array_equal(halves[f"{name}_float16"], before[name].astype(np.float16))
    untouched = set(before) - LARGE
    assert set(after) - set(halves) == untouched
    for name in untouched:
        np.testing.assert_array_equal(after[name], before[name])
    saved = 2 * sum(before[name].size for name in LARGE)
    assert GRAPH.stat().st_size - halved.stat().st_size == pytest.approx(saved, abs=2000)


def test_the_graph_is_sound_and_embeds_as_before_within_a_thousandth(halved: Path) -> None:
    onnx.checker.check_model(onnx.load(halved), full_check=True)
    spec = load_manifest(TINY_BUNDLE).query_encoder.preprocessing
    fp32, half = (OnnxQueryEncoder.open(path, spec, 128, threads=1) for path in (GRAPH, halved))
    photographs = list(coloured_tiles(6, 112, seed=3).numpy())
    np.testing.assert_allclose(half.encode(photographs), fp32.encode(photographs), rtol=0, atol=1e-3)


def test_restored_weights_are_float32_under_their_names_and_the_nodes_are_those_of_before(halved: Path) -> None:
    before, model = onnx.load(GRAPH), restore_weights(onnx.load(halved))
    assert [node.SerializeToString() for node in model.graph.node] == [
        node.SerializeToString() for node in before.graph.node
    ]
    found = initialisers(model)
    assert list(found) == list(initialisers(before))
    for name, value in initialisers(before).items():
        expected = value.astype(np.float16).astype(np.float32) if name in LARGE else value
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype


def test_a_graph_is_halved_once_and_one_that_is_not_halved_is_restored_to_itself(halved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    shutil.copyfile(halved, again)
    halve_weights(again)
    assert again.read_bytes() == halved.read_bytes()
    assert restore_weights(onnx.load(GRAPH)) == onnx.load(GRAPH)
