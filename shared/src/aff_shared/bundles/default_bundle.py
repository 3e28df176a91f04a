"""The default bundle and its directory."""

from __future__ import annotations

from pathlib import Path

DEFAULT_BUNDLE = Path("bundles/photos")
_MANIFEST = "bundle.json"


def default_bundle(package_file: Path = Path(__file__)) -> Path:
    """Return the directory of the default bundle.

    Below the current directory, else below the checkout that the installed package belongs to, else in the installed
    aff-toolkit. Where it is in none, the relative path is returned, so that the error about it names it.

    Args:
        package_file: File of the installed package; the checkout, or the other packages, are in a directory above it.
    """
    if (DEFAULT_BUNDLE / _MANIFEST).is_file():
        return DEFAULT_BUNDLE
    for parent in package_file.parents:
        for directory in (parent, parent / "aff_toolkit"):
            if (directory / DEFAULT_BUNDLE / _MANIFEST).is_file():
                return directory / DEFAULT_BUNDLE
    return DEFAULT_BUNDLE


def missing_default_hint(directory: Path) -> str:
    """Return a hint for the error about a missing default bundle; empty for other bundles."""
    if directory != DEFAULT_BUNDLE:
        return ""
    return (
        ". The default bundle is part of the repository and of aff-toolkit's wheel: run this in a checkout, or set "
        "another bundle "
        "(--bundle, or AFF_INDEX_BUNDLE_PATH and AFF_QUERY_BUNDLE_PATH)"
    )
