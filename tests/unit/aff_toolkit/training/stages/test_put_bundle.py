"""A bundle takes the place of another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_shared.errors import BundleNotFoundError
from aff_toolkit.training.stages.put_bundle import put_bundle
from tests.support.tiny_training import TinyTraining


def test_a_bundle_is_copied_byte_for_byte_with_its_signature(tiny_training: TinyTraining, tmp_path: Path) -> None:
    source = tmp_path / "signed"
    put_bundle(tiny_training.bundle, source)
    (source / "bundle.json.minisig").write_text("signed", encoding="utf-8")
    assert put_bundle(source, tmp_path / "own") == tiny_training.manifest
    verify_files(tmp_path / "own", load_manifest(tmp_path / "own"))
    for path in [*(file.path for file in tiny_training.manifest.files), "bundle.json", "bundle.json.minisig"]:
        assert (tmp_path / "own" / path).read_bytes() == (source / path).read_bytes()


def test_files_of_the_bundle_that_lay_there_are_removed_and_no_others(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    put_bundle(tiny_training.bundle, own)
    (own / "bundle.json.minisig").write_text("signed", encoding="utf-8")
    (own / "notes.txt").write_text("mine", encoding="utf-8")
    renamed = tmp_path / "renamed"
    put_bundle(tiny_training.bundle, renamed)
    put_bundle(renamed, own)
    assert not (own / "bundle.json.minisig").exists()
    assert (own / "notes.txt").exists()


def test_a_source_that_is_no_bundle_leaves_what_is_there(tiny_training: TinyTraining, tmp_path: Path) -> None:
    put_bundle(tiny_training.bundle, tmp_path / "own")
    with pytest.raises(BundleNotFoundError):
        put_bundle(tmp_path / "none", tmp_path / "own")
    verify_files(tmp_path / "own", load_manifest(tmp_path / "own"))
