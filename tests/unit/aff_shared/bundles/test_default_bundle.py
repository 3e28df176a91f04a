"""The default bundle is found from any directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_shared.bundles.bundle import load_manifest
from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.errors import BundleNotFoundError


def put_bundle(directory: Path) -> Path:
    bundle = directory / "bundles" / "photos"
    bundle.mkdir(parents=True)
    (bundle / "bundle.json").touch()
    return bundle


@pytest.fixture
def package_file(tmp_path: Path) -> Path:
    """A file of the package, in a checkout that has no bundle yet."""
    return tmp_path / "checkout" / "shared" / "src" / "aff_shared" / "default_bundle.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory outside the checkout."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def test_elsewhere_it_is_the_one_of_the_checkout(tmp_path: Path, package_file: Path) -> None:
    bundle = put_bundle(tmp_path / "checkout")
    assert default_bundle(package_file) == bundle


def test_without_a_checkout_it_is_the_one_of_the_installed_toolkit(tmp_path: Path) -> None:
    bundle = put_bundle(tmp_path / "site-packages" / "aff_toolkit")
    assert default_bundle(tmp_path / "site-packages" / "aff_shared" / "bundles" / "default_bundle.py") == bundle


def test_the_bundle_of_the_current_directory_takes_precedence(
    tmp_path: Path, elsewhere: Path, package_file: Path
) -> None:
    put_bundle(tmp_path / "checkout")
    put_bundle(elsewhere)
    assert default_bundle(package_file) == Path("bundles/photos")


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path, elsewhere: Path, package_file: Path) -> None:
    (elsewhere / "bundles" / "photos").mkdir(parents=True)
    bundle = put_bundle(tmp_path / "checkout")
    assert default_bundle(package_file) == bundle


def test_a_missing_default_bundle_is_reported_with_a_remedy(package_file: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"bundle\.json in bundles/photos\. .*checkout.*--bundle"):
        load_manifest(default_bundle(package_file))


def test_the_error_about_a_named_bundle_has_no_hint(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError) as caught:
        load_manifest(tmp_path)
    assert caught.value.detail == f"no readable bundle.json in {tmp_path}"
