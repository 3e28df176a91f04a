from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.errors import BundleFormatError, BundlePrecisionError, EncoderError
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.images import quarters
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding, tiny_query_encoder

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def _load(directory: Path, **broken: Any) -> OnnxQueryEncoder:
    manifest = write_dummy_bundle(directory, dimension=DIMENSION, query_encoder=tiny_query_encoder(**broken))
    return OnnxQueryEncoder.load(directory, manifest, threads=1)


def test_a_batch_of_photographs_of_any_sizes_is_embedded_as_worked_out_by_hand(tmp_path: Path) -> None:
    plain = np.full((10, 70, 3), BLUE, np.uint8)
    embeddings = _load(tmp_path).encode([quarters(32), plain])
    expected = [tiny_embedding(RED, GREEN, BLUE, WHITE), tiny_embedding(BLUE)]
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    assert embeddings.dtype == np.float32


def test_the_encoder_has_the_side_of_its_input(tmp_path: Path) -> None:
    assert _load(tmp_path).decode_min_side == 32


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"image": "pixels"}, "'pixels'"),
        ({"embedding": "vector"}, "'vector'"),
        ({"pixels": TensorProto.FLOAT}, r"tensor\(float\)"),
        ({"size": 16}, r"\[16, 16, 3\]"),
        ({"dimension": DIMENSION - 1}, r"\[7\]"),
        ({"batch": 1}, "two grey photographs"),
        ({"unit_length": False}, "not a unit vector"),
    ],
    ids=str,
)
def test_a_graph_that_breaks_the_contract_is_rejected_at_load(
    tmp_path: Path, broken: dict[str, Any], words: str
) -> None:
    with pytest.raises(BundleFormatError, match=words) as caught:
        _load(tmp_path, **broken)
    assert caught.value.item == "query_encoder.onnx"


def test_a_preprocessing_without_square_results_is_rejected_at_load(tmp_path: Path) -> None:
    manifest = write_dummy_bundle(
        tmp_path, dimension=DIMENSION, query_encoder=tiny_query_encoder(), resize="longest_side"
    )
    with pytest.raises(BundleFormatError, match="two grey photographs"):
        OnnxQueryEncoder.load(tmp_path, manifest, threads=1)


def _dummy(directory: Path, query_encoder: bytes) -> BundleManifest:
    return write_dummy_bundle(directory, dimension=DIMENSION, query_encoder=query_encoder)


@pytest.mark.parametrize("model", [b"", b"no model at all", tiny_query_encoder()[:300]])
def test_a_file_that_is_no_onnx_model_is_rejected_at_load(tmp_path: Path, model: bytes) -> None:
    with pytest.raises(BundleFormatError, match="ONNX Runtime cannot load it"):
        OnnxQueryEncoder.load(tmp_path, _dummy(tmp_path, model), threads=1)


def test_a_photograph_without_a_direction_is_an_encoder_error_and_no_search_with_zeros(tmp_path: Path) -> None:
    encoder = _load(tmp_path)
    black = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(EncoderError, match="not a unit vector"):
        encoder.encode([black])


# Means of 0.39, 1 and 0.12 are 0.5, 1 and 0 in steps of a quarter.
ODD, ODD_IN_QUARTERS = (100, 255, 30), (127.5, 255.0, 0.0)


@pytest.mark.parametrize(
    ("precision", "loaded", "seen"),
    [("auto", "int8", ODD_IN_QUARTERS), ("int8", "int8", ODD_IN_QUARTERS), ("fp32", "fp32", ODD)],
)
def test_a_bundle_of_two_precisions_is_served_in_the_configured_one(
    tmp_path: Path, precision: Literal["auto", "fp32", "int8"], loaded: str, seen: tuple[float, float, float]
) -> None:
    manifest = write_dummy_bundle(
        tmp_path,
        dimension=DIMENSION,
        query_encoder=tiny_query_encoder(),
        int8_query_encoder=tiny_query_encoder(step=0.25),
    )
    encoder = OnnxQueryEncoder.load(tmp_path, manifest, threads=1, precision=precision)
    assert encoder.precision == loaded
    embeddings = encoder.encode([np.full((32, 32, 3), ODD, np.uint8)])
    np.testing.assert_allclose(embeddings, [tiny_embedding(seen)], atol=1e-6)


def test_without_an_int8_graph_auto_takes_the_other_and_int8_is_rejected(tmp_path: Path) -> None:
    manifest = _dummy(tmp_path, tiny_query_encoder())
    assert OnnxQueryEncoder.load(tmp_path, manifest, threads=1).precision == "fp32"
    with pytest.raises(BundlePrecisionError, match="no int8 query encoder; use auto or fp32"):
        OnnxQueryEncoder.load(tmp_path, manifest, threads=1, precision="int8")


def test_an_int8_graph_that_breaks_the_contract_is_rejected_by_its_own_name(tmp_path: Path) -> None:
    manifest = write_dummy_bundle(
        tmp_path, dimension=DIMENSION, query_encoder=tiny_query_encoder(), int8_query_encoder=b"no model"
    )
    with pytest.raises(BundleFormatError) as caught:
        OnnxQueryEncoder.load(tmp_path, manifest, threads=1)
    assert caught.value.item == "query_encoder.int8.onnx"


def _native_errors() -> list[type[Exception]]:
    native = onnxruntime.capi.onnxruntime_pybind11_state
    named = ("Fail", "InvalidArgument", "NoSuchFile", "NoModel", "EngineError", "RuntimeException", "InvalidProtobuf")
    more = ("ModelLoaded", "NotImplemented", "InvalidGraph", "EPFail")
    return [getattr(native, name) for name in (*named, *more)]


@pytest.mark.parametrize("native_error", _native_errors())
def test_every_exception_of_onnx_runtime_becomes_an_encoder_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native_error: type[Exception]
) -> None:
    encoder = _load(tmp_path)

    def fail(*_: Any) -> None:
        raise native_error("out of order")

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    with pytest.raises(EncoderError, match="out of order"):
        encoder.encode([quarters(32)])
