"""Bundles from which files are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_shared.errors import BundleNotFoundError
from aff_toolkit.export.bundle_files import put_bundle, repair_bundle
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.tiny_bundle import TinyBundle

MIXER, QUERY = "mixer.safetensors", "query_encoder.onnx"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    directory = tmp_path / "bundle"
    directory.mkdir()
    write_dummy_bundle(directory, dimension=4)
    return directory


@pytest.fixture
def copies(bundle: Path, tmp_path: Path) -> Path:
    """The model files under other names, as a cache keeps them, next to one of equal size and other content."""
    blobs = tmp_path / "cache" / "blobs"
    blobs.mkdir(parents=True)
    shutil.copy(bundle / MIXER, blobs / "1f3a")
    shutil.copy(bundle / QUERY, blobs / "77c0")
    (blobs / "0000").write_bytes(b"X" * (bundle / MIXER).stat().st_size)
    return tmp_path / "cache"


def test_missing_and_altered_files_are_put_back_and_others_left_alone(bundle: Path, copies: Path) -> None:
    (bundle / MIXER).unlink()
    (bundle / QUERY).write_bytes(b"altered")
    assert sorted(repair_bundle(bundle, copies)) == [MIXER, QUERY]
    verify_files(bundle, load_manifest(bundle))
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle.json", MIXER, QUERY]


def test_a_whole_bundle_needs_no_copies(bundle: Path, tmp_path: Path) -> None:
    assert repair_bundle(bundle, tmp_path / "nowhere") == []


def test_what_has_no_copy_is_named_and_the_rest_is_restored(bundle: Path, copies: Path) -> None:
    (bundle / MIXER).unlink()
    (bundle / QUERY).unlink()
    (copies / "blobs" / "77c0").unlink()
    with pytest.raises(BundleNotFoundError) as caught:
        repair_bundle(bundle, copies)
    assert caught.value.item == QUERY
    assert (bundle / MIXER).exists()
    assert not (bundle / QUERY).exists()


def test_a_bundle_is_copied_byte_for_byte_with_its_signature(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    source = tmp_path / "signed"
    put_bundle(tiny_bundle.bundle, source)
    (source / "bundle.json.minisig").write_text("signed", encoding="utf-8")
    assert put_bundle(source, tmp_path / "own") == tiny_bundle.manifest
    verify_files(tmp_path / "own", load_manifest(tmp_path / "own"))
    for path in [*(file.path for file in tiny_bundle.manifest.files), "bundle.json", "bundle.json.minisig"]:
        assert (tmp_path / "own" / path).read_bytes() == (source / path).read_bytes()


def test_files_of_the_bundle_that_lay_there_are_removed_and_no_others(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    own = tmp_path / "own"
    put_bundle(tiny_bundle.bundle, own)
    (own / "bundle.json.minisig").write_text("signed", encoding="utf-8")
    (own / "notes.txt").write_text("mine", encoding="utf-8")
    renamed = tmp_path / "renamed"
    put_bundle(tiny_bundle.bundle, renamed)
    put_bundle(renamed, own)
    assert not (own / "bundle.json.minisig").exists()
    assert (own / "notes.txt").exists()


def test_a_source_that_is_not_a_bundle_leaves_what_is_there(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    put_bundle(tiny_bundle.bundle, tmp_path / "own")
    with pytest.raises(BundleNotFoundError):
        put_bundle(tmp_path / "none", tmp_path / "own")
    verify_files(tmp_path / "own", load_manifest(tmp_path / "own"))
