"""The default bundle and its directory."""

from __future__ import annotations

from pathlib import Path

DEFAULT_BUNDLE = Path("bundles/photos")
_MANIFEST = "bundle.json"


def default_bundle(package_file: Path = Path(__file__)) -> Path:
    """Return the directory of the default bundle.

    Below the current directory, else below the checkout that the installed package belongs to. Where it is in neither,
    the relative path is returned, so that the error about it names it.

    Args:
        package_file: File of the installed package; the checkout is a directory above it.
    """
    if (DEFAULT_BUNDLE / _MANIFEST).is_file():
        return DEFAULT_BUNDLE
    for directory in package_file.parents:
        if (directory / DEFAULT_BUNDLE / _MANIFEST).is_file():
            return directory / DEFAULT_BUNDLE
    return DEFAULT_BUNDLE


def missing_default_hint(directory: Path) -> str:
    """Return a hint for the error about a missing default bundle; empty for other bundles."""
    if directory != DEFAULT_BUNDLE:
        return ""
    return (
        ". The default bundle is part of the repository: run this in a checkout of it, or set another bundle "
        "(--bundle, or AFF_INDEX_BUNDLE_PATH and AFF_QUERY_BUNDLE_PATH)"
    )
