"""Puts a finished bundle into its place."""

from __future__ import annotations

import shutil
from pathlib import Path

from aff_shared.bundles.bundle import MANIFEST_NAME, BundleManifest, load_manifest
from aff_shared.bundles.bundle_signature import SIGNATURE_NAME
from aff_shared.errors import BundleError


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
