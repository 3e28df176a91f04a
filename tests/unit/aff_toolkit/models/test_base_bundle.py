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
from aff_toolkit.models.base_bundle import BaseBundle, read_prototypes, write_prototypes
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import embed_rows
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


def test_prototypes_come_in_the_order_requested_and_only_if_all_are_there(tiny_training: TinyTraining) -> None:
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
