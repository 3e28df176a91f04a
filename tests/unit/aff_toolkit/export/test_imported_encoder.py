"""Bundles of imported embedding spaces, with query encoders that others exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from aff_shared.bundles.bundle import describe_imported_space, load_manifest, load_served_manifest, verify_files
from aff_shared.errors import AffError, BundleError, BundleFormatError, InvalidParameterError
from aff_toolkit.export.imported_encoder import ForeignEncoder, write_imported_bundle
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.foreign_encoder import WEIGHTS, write_foreign_encoder
from tests.support.tiny_query_encoder import DIMENSION, SIZE, tiny_embedding, tiny_query_encoder

MEAN, DEVIATION = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_graph_of_normalised_floats_becomes_a_query_encoder(kind: TensorProto.DataType, tmp_path: Path) -> None:
    encoder = ForeignEncoder(write_foreign_encoder(tmp_path / "clip.onnx", kind=kind), mean=MEAN, deviation=DEVIATION)
    written = write_imported_bundle(tmp_path / "bundles" / "clip", "clip", DIMENSION, encoder)
    assert load_served_manifest(tmp_path / "bundles" / "clip") == written
    verify_files(tmp_path / "bundles" / "clip", written)
    assert written.query_encoder is not None
    assert (written.query_encoder.architecture, written.query_encoder.preprocessing.size) == ("clip", SIZE)
    loaded = OnnxQueryEncoder.load(tmp_path / "bundles" / "clip", written, threads=1)
    colour = np.array([200, 100, 50])
    photograph = np.tile(colour.astype(np.uint8), (40, 50, 1))
    expected = ((colour / 255 - MEAN) / DEVIATION) @ WEIGHTS
    (found,) = loaded.encode([photograph])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=5e-3)


def test_a_graph_of_the_form_of_a_bundle_is_copied(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_query_encoder())
    directory = tmp_path / "bundles" / "tiny"
    written = write_imported_bundle(directory, "tiny", DIMENSION, ForeignEncoder(tmp_path / "tiny.onnx", size=SIZE))
    assert (directory / "query_encoder.onnx").read_bytes() == tiny_query_encoder()
    loaded = OnnxQueryEncoder.load(directory, written, threads=1)
    red = np.tile(np.array((255, 0, 0), np.uint8), (40, 40, 1))
    np.testing.assert_allclose(loaded.encode([red])[0], tiny_embedding((255, 0, 0)), atol=1e-5)


def test_a_bundle_is_kept_until_an_encoder_is_added(tmp_path: Path) -> None:
    first = write_imported_bundle(tmp_path / "clip", "clip", DIMENSION, None)
    assert first == describe_imported_space(tmp_path, "clip", DIMENSION)
    encoder = ForeignEncoder(write_foreign_encoder(tmp_path / "clip.onnx"), mean=MEAN, deviation=DEVIATION)
    second = write_imported_bundle(tmp_path / "clip", "clip", DIMENSION, encoder)
    assert second.space == first.space
    assert second.fingerprint != first.fingerprint
    assert write_imported_bundle(tmp_path / "clip", "clip", DIMENSION, None) == second
    assert load_served_manifest(tmp_path / "clip") == second
    with pytest.raises(BundleFormatError, match="imported embedding space, which has no gallery side"):
        load_manifest(tmp_path / "clip")


def _error(tmp_path: Path, encoder: ForeignEncoder | None, name: str = "clip", dimension: int = DIMENSION) -> AffError:
    with pytest.raises((BundleError, InvalidParameterError)) as raised:
        write_imported_bundle(tmp_path / "bundles" / "clip", name, dimension, encoder)
    assert not (tmp_path / "bundles" / "clip").exists()
    return raised.value


def test_what_cannot_be_used_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    good = ForeignEncoder(write_foreign_encoder(tmp_path / "clip.onnx"), mean=MEAN, deviation=DEVIATION)
    assert "--query-mean" in str(_error(tmp_path, replace(good, mean=None)))
    assert "no such file" in str(_error(tmp_path, replace(good, model=tmp_path / "none.onnx")))
    assert "0 of its outputs have the shape (B, 5)" in str(_error(tmp_path, good, dimension=5))
    two = write_foreign_encoder(tmp_path / "two.onnx", outputs=2)
    assert "2 of its outputs" in str(_error(tmp_path, replace(good, model=two)))
    open_size = write_foreign_encoder(tmp_path / "open.onnx", size="side")
    assert "--query-size" in str(_error(tmp_path, replace(good, model=open_size)))
    (tmp_path / "text.onnx").write_text("no graph")
    assert "cannot be read as ONNX" in str(_error(tmp_path, replace(good, model=tmp_path / "text.onnx")))
    (tmp_path / "long.onnx").write_bytes(tiny_query_encoder(unit_length=False))
    assert "it fails on two grey" in str(_error(tmp_path, ForeignEncoder(tmp_path / "long.onnx", size=SIZE)))
    (tmp_path / "float.onnx").write_bytes(tiny_query_encoder(pixels=TensorProto.FLOAT))
    wrong = str(_error(tmp_path, replace(good, model=tmp_path / "float.onnx")))
    assert "it has to be (B, 3, S, S) of floats, or (B, S, S, 3) of uint8" in wrong
    assert "'no name/' is not a name" in str(_error(tmp_path, good, name="no name/"))


def test_another_bundle_of_the_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    manifest = write_dummy_bundle(tmp_path / "clip", dimension=DIMENSION)
    with pytest.raises(BundleFormatError, match="choose another name"):
        write_imported_bundle(tmp_path / "clip", "clip", DIMENSION, None)
    assert load_manifest(tmp_path / "clip") == manifest
    write_imported_bundle(tmp_path / "other", "other", 5, None)
    with pytest.raises(BundleFormatError, match="5 dimensions; choose another name"):
        write_imported_bundle(tmp_path / "other", "other", 6, None)
