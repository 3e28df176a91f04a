"""A bundle that a training starts from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import MANIFEST_NAME
from aff_shared.errors import BundleFormatError, BundleIntegrityError
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import BaseBundle, load_onnx_weights, read_prototypes, write_prototypes
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows
from aff_toolkit.weights.half_weights import halve_weights
from gallery_indexer.features.networks.resnet import ResidualNetwork
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_query_encoder import tiny_query_encoder
from tests.support.tiny_training import TinyTraining


def test_its_prototypes_are_near_the_embeddings_of_their_photographs(tiny_training: TinyTraining) -> None:
    base = BaseBundle.open(tiny_training.bundle)
    _, instances = read_prototypes(tiny_training.bundle / "prototypes.safetensors")
    store = FeatureStore.open(tiny_training.work / "features")
    rows = np.flatnonzero(np.isin(store.instances, instances))
    prototypes = base.prototypes_of(instances)
    assert prototypes is not None
    embeddings = torch.from_numpy(embed_rows(store, rows, base.load_mixer()))
    nearest = (embeddings @ torch.nn.functional.normalize(prototypes, dim=1).T).argmax(dim=1)
    hits = [instances[place] == store.instances[row] for place, row in zip(nearest.tolist(), rows, strict=True)]
    assert np.mean(hits) > 0.5  # chance: 1 in 8


def test_prototypes_are_in_the_order_requested_and_only_if_all_are_there(tiny_training: TinyTraining) -> None:
    base = BaseBundle.open(tiny_training.bundle)
    written, instances = read_prototypes(tiny_training.bundle / "prototypes.safetensors")
    found = base.prototypes_of(instances[::-1])
    assert found is not None
    torch.testing.assert_close(found, written.flip(0))
    assert base.prototypes_of([*instances, "another"]) is None


def test_an_altered_bundle_and_one_of_a_newer_format_are_rejected(tiny_training: TinyTraining, tmp_path: Path) -> None:
    altered, newer = (shutil.copytree(tiny_training.bundle, tmp_path / name) for name in ("altered", "newer"))
    with (altered / "mixer.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BundleIntegrityError):
        BaseBundle.open(altered)
    manifest = json.loads((newer / MANIFEST_NAME).read_text(encoding="utf-8"))
    (newer / MANIFEST_NAME).write_text(json.dumps({**manifest, "format_version": 9}), encoding="utf-8")
    with pytest.raises(BundleFormatError, match="newer"):
        BaseBundle.open(newer)


def test_prototypes_are_read_with_the_names_of_their_instances(tmp_path: Path) -> None:
    prototypes = torch.tensor([[0.5, -1.25], [2.0, 0.0]])
    write_prototypes(tmp_path / "p.safetensors", prototypes, ["tower", "brücke"])
    found, instances = read_prototypes(tmp_path / "p.safetensors")
    torch.testing.assert_close(found, prototypes)
    assert instances == ["tower", "brücke"]


def test_another_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BundleFormatError, match="does not contain prototypes"):
        read_prototypes(tmp_path / "p.safetensors")


def test_a_name_too_few_is_rejected(tmp_path: Path) -> None:
    write_prototypes(tmp_path / "p.safetensors", torch.ones(3, 2), ["a", "b"])
    with pytest.raises(BundleFormatError, match="3 prototypes with 2 names"):
        read_prototypes(tmp_path / "p.safetensors")


SIZE, D = 32, 8


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "encoder.onnx"
    export_query_encoder(settled_query_encoder(D, SIZE), SIZE, path)
    return path


@pytest.mark.slow
@torch.no_grad()
def test_it_computes_what_it_computed_before_the_export(exported: Path) -> None:
    encoder = QueryEncoder(ResidualNetwork(4, D))
    load_onnx_weights(encoder, exported, coloured_tiles(24, SIZE, seed=5))
    images = coloured_tiles(6, SIZE, seed=9)
    torch.testing.assert_close(encoder(images), settled_query_encoder(D, SIZE)(images), rtol=0, atol=1e-4)


@torch.no_grad()
def test_it_computes_nearly_the_same_in_training_on_the_images_that_it_was_set_on(exported: Path) -> None:
    encoder, images = QueryEncoder(ResidualNetwork(4, D)), coloured_tiles(64, SIZE, seed=5)
    load_onnx_weights(encoder, exported, images)
    expected = encoder(images)
    torch.testing.assert_close(encoder.train()(images), expected, rtol=0, atol=5e-3)


@torch.no_grad()
def test_it_is_restored_from_a_graph_whose_weights_are_halved(tmp_path: Path) -> None:
    whole, half, images = TINY_BUNDLE / "query_encoder.onnx", tmp_path / "half.onnx", coloured_tiles(8, 112, seed=5)
    shutil.copyfile(whole, half)
    halve_weights(half)
    encoders = [QueryEncoder(ResidualNetwork(16, 128)) for _ in range(2)]
    for encoder, path in zip(encoders, (whole, half), strict=True):
        load_onnx_weights(encoder, path, images)
    shown = coloured_tiles(6, 112, seed=9)
    torch.testing.assert_close(encoders[1](shown), encoders[0](shown), rtol=0, atol=1e-3)


def test_another_width_or_another_network_is_rejected(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_query_encoder())
    for encoder, path in (
        (QueryEncoder(ResidualNetwork(8, D)), exported),
        (QueryEncoder(ResidualNetwork(4, D)), tmp_path / "other.onnx"),
    ):
        with pytest.raises(BundleFormatError, match="train one from scratch"):
            load_onnx_weights(encoder, path, coloured_tiles(4, SIZE, seed=0))
