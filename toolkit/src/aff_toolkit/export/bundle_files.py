"""Copies the files of a bundle: a whole bundle, or those that are missing or altered."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from aff_shared.bundles.bundle import MANIFEST_NAME, BundleFile, BundleManifest, load_manifest, verify_files
from aff_shared.bundles.bundle_signature import SIGNATURE_NAME
from aff_shared.errors import BundleError, BundleNotFoundError


def repair_bundle(directory: Path, source: Path) -> list[str]:
    """Copy what is missing or altered from a folder that holds the same files, under whatever names.

    Args:
        directory: Of the bundle; its manifest is whole.
        source: Folder that is searched through; a file is the right one when size and sha256 are those of the manifest.

    Returns:
        Paths of the files that were put back.

    Raises:
        BundleNotFoundError: No manifest, no copy of a file, or the disk refuses; what was found is put back.
        BundleFormatError, BundleIntegrityError: The manifest itself is damaged.
    """
    manifest = load_manifest(directory)
    damaged = [file for file in manifest.files if _is_damaged(directory, manifest, file)]
    copies = _copies_of(damaged, source)
    for file in damaged:
        if file.sha256 in copies:
            _put(copies[file.sha256], directory / file.path)
    missing = [file.path for file in damaged if file.sha256 not in copies]
    if missing:
        detail = f"no file in {source} is the one that the manifest describes; all else is put back"
        raise BundleNotFoundError(detail, item=", ".join(missing))
    return [file.path for file in damaged]


def _is_damaged(directory: Path, manifest: BundleManifest, file: BundleFile) -> bool:
    try:
        verify_files(directory, manifest, [file.path])
    except BundleError:
        return True
    return False


def _copies_of(files: Sequence[BundleFile], source: Path) -> dict[str, Path]:
    """Return where a copy lies, by sha256; only files of a wanted size are read."""
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
        raise BundleNotFoundError(f"cannot be put back: {error.strerror or error}", item=str(path)) from error


def put_bundle(source: Path, output: Path) -> BundleManifest:
    """Copy a bundle byte for byte, in place of the one that lies there.

    Args:
        source: Directory of the bundle.
        output: Where it goes; the files of another bundle there are removed, and nothing else.

    Returns:
        Its manifest.

    Raises:
        BundleError: The source cannot be read.
        OSError: The disk is full or refuses.
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
