"""The bundle that everything uses when none is named: where it lies, and how to get one."""

from __future__ import annotations

from pathlib import Path

DEFAULT_BUNDLE = Path("bundles/photos")
_MANIFEST = "bundle.json"


def default_bundle(package_file: Path = Path(__file__)) -> Path:
    """Return where the default bundle lies.

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
    """Return what the error about a missing bundle adds for the default, which nobody named; nothing for others."""
    if directory != DEFAULT_BUNDLE:
        return ""
    return (
        ". The default bundle comes with the repository: run this in a checkout of it, or name a bundle of your own "
        "(--bundle, or AFF_INDEX_BUNDLE_PATH and AFF_QUERY_BUNDLE_PATH)"
    )
