"""Copies the files of a bundle: all of them, or only missing and altered ones."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from aff_shared.bundles.bundle import MANIFEST_NAME, BundleFile, BundleManifest, load_manifest, verify_files
from aff_shared.bundles.bundle_repository import SIGNATURE_NAME
from aff_shared.errors import BundleError, BundleNotFoundError


def repair_bundle(directory: Path, source: Path) -> list[str]:
    """Restore missing and altered files of a bundle from a folder that contains them under any names.

    The folder is searched recursively; files match by size and sha256. Returns the paths of the restored files.

    Raises:
        BundleNotFoundError: There is no manifest or no copy of a file, or the disk is not writable; found files are
            restored.
        BundleFormatError, BundleIntegrityError: The manifest is damaged.
    """
    manifest = load_manifest(directory)
    damaged = [file for file in manifest.files if _is_damaged(directory, manifest, file)]
    copies = _copies_of(damaged, source)
    for file in damaged:
        if file.sha256 in copies:
            _put(copies[file.sha256], directory / file.path)
    missing = [file.path for file in damaged if file.sha256 not in copies]
    if missing:
        detail = f"no file in {source} matches the manifest; all other files are restored"
        raise BundleNotFoundError(detail, item=", ".join(missing))
    return [file.path for file in damaged]


def _is_damaged(directory: Path, manifest: BundleManifest, file: BundleFile) -> bool:
    try:
        verify_files(directory, manifest, [file.path])
    except BundleError:
        return True
    return False


def _copies_of(files: Sequence[BundleFile], source: Path) -> dict[str, Path]:
    """Return the paths of copies by sha256; only files of a matching size are read."""
    sizes, wanted = {file.size_bytes for file in files}, {file.sha256 for file in files}
    copies = {}
    for path in source.rglob("*"):
        if path.is_file() and path.stat().st_size in sizes:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest in wanted:
                copies[digest] = path
    return copies


def _put(copy: Path, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(copy, partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BundleNotFoundError(f"cannot be restored: {error.strerror or error}", item=str(path)) from error


def put_bundle(source: Path, output: Path) -> BundleManifest:
    """Copy a bundle byte for byte, replace the one in the output directory, and return the manifest.

    Only the files of a previous bundle are removed from the output directory.

    Raises:
        BundleError: The source cannot be read.
        OSError: The disk is full or not writable.
    """
    manifest = load_manifest(source)
    for path in (*_files_of(output), SIGNATURE_NAME, MANIFEST_NAME):
        (output / path).unlink(missing_ok=True)
    # The manifest last: until then there is no bundle.
    for path in (*(file.path for file in manifest.files), SIGNATURE_NAME, MANIFEST_NAME):
        if (source / path).exists():
            (output / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, output / path)
    return manifest


def _files_of(directory: Path) -> list[str]:
    try:
        return [file.path for file in load_manifest(directory).files]
    except BundleError:
        return []
