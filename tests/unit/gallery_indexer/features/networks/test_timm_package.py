"""timm is imported only if it is used; the error if it is missing has the install command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from aff_shared.errors import MissingExtraError
from gallery_indexer.features.extractors.timm_backbone import import_timm


def broken_timm(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a timm that fails as with a torchvision of another build."""
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    (directory / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')", "utf-8")
    monkeypatch.syspath_prepend(directory)


def test_the_error_without_timm_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError) as caught:
        import_timm("some model")
    assert str(caught.value) == "some model: needs timm: pip install 'aff-gallery-indexer[timm]'"


@pytest.mark.parametrize(
    ("installed", "command"),
    [
        ("2.13.0+cpu", "torch==2.13.0+cpu torchvision --index-url https://download.pytorch.org/whl/cpu"),
        ("2.13.0", "torch==2.13.0 torchvision"),
    ],
)
def test_the_error_of_a_mismatched_torchvision_has_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, command: str
) -> None:
    broken_timm(tmp_path, monkeypatch)
    monkeypatch.setattr(torch, "__version__", installed)
    with pytest.raises(MissingExtraError) as caught:
        import_timm("some model")
    assert "operator torchvision::nms does not exist" in caught.value.detail
    assert caught.value.detail.endswith(f"pip uninstall -y torchvision && pip install {command}")
