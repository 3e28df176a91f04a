"""The prototypes' file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aff_shared.errors import BundleFormatError
from aff_toolkit.models.prototypes_file import read_prototypes, write_prototypes


def test_prototypes_come_back_with_the_names_of_their_instances(tmp_path: Path) -> None:
    prototypes = torch.tensor([[0.5, -1.25], [2.0, 0.0]])
    write_prototypes(tmp_path / "p.safetensors", prototypes, ["tower", "brücke"])
    found, instances = read_prototypes(tmp_path / "p.safetensors")
    torch.testing.assert_close(found, prototypes)
    assert instances == ["tower", "brücke"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BundleFormatError, match="holds no prototypes"):
        read_prototypes(tmp_path / "p.safetensors")


def test_a_name_too_few_is_refused(tmp_path: Path) -> None:
    write_prototypes(tmp_path / "p.safetensors", torch.ones(3, 2), ["a", "b"])
    with pytest.raises(BundleFormatError, match="3 prototypes with 2 names"):
        read_prototypes(tmp_path / "p.safetensors")
