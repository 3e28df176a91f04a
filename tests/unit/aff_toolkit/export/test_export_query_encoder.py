"""The exported query encoder is the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.models.query_encoder import QueryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder

SIZE = 32


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[QueryEncoder, OnnxQueryEncoder]:
    directory = tmp_path_factory.mktemp("exported")
    encoder = settled_query_encoder(8, SIZE)
    manifest = write_dummy_bundle(directory, dimension=8)
    export_query_encoder(encoder, SIZE, directory / manifest.query_encoder.model)
    return encoder, OnnxQueryEncoder.load(directory, manifest, threads=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_returns_what_torch_gives(encoders: tuple[QueryEncoder, OnnxQueryEncoder], batch: int) -> None:
    trained, exported = encoders
    images = coloured_tiles(batch, SIZE, seed=batch)
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
