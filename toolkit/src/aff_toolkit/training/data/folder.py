"""Photographs of a folder: with a subfolder per instance, or without any labels."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path, PurePosixPath

from aff_toolkit.photograph_files import IMAGE_SUFFIXES, FolderError
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.photograph_file import load_below

_DIGITS = re.compile(r"\d+")
_MOST_DIGITS = 20
_SUFFIXES = tuple(IMAGE_SUFFIXES)


def folder_photographs(root: Path, *, min_side: int | None = None) -> list[Photograph]:
    """Return the photographs of a folder with a subfolder per instance, in natural order.

    A photograph's name is its path below `root`; its instance is the path of the folder that it lies in.

    Args:
        root: The folder.
        min_side: See load_photograph_file.

    Raises:
        FolderError: Not a folder, not readable, without image files, or with images that lie in no subfolder.
    """
    names = _image_files(root)
    loose = next((name for name in names if "/" not in name), None)
    if loose is not None:
        raise FolderError(
            f"{loose} lies in no subfolder; each instance needs a folder of its own, or read the folder as unlabelled",
            item=str(root),
        )
    # Photographs of one folder share one string.
    instances: dict[str, str] = {}
    return [
        Photograph(name, instances.setdefault(parent, parent), partial(load_below, str(root), name, min_side))
        for name, parent in ((name, str(PurePosixPath(name).parent)) for name in names)
    ]


def unlabelled_photographs(root: Path, *, min_side: int | None = None) -> list[Photograph]:
    """Return the photographs of a folder and its subfolders, each an instance of its own, in natural order.

    Args:
        root: The folder.
        min_side: See load_photograph_file.

    Raises:
        FolderError: Not a folder, not readable, or without image files.
    """
    return [Photograph(name, name, partial(load_below, str(root), name, min_side)) for name in _image_files(root)]


def _image_files(root: Path) -> list[str]:
    """Return paths below the root with / between their parts; hidden files and folders are left out."""
    if not root.is_dir():
        raise FolderError("is not a folder", item=str(root))
    found: list[str] = []
    for folder, subfolders, files in os.walk(root, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [
            prefix + name
            for name in files
            # A Path per file would take seconds for a million files.
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise FolderError(f"holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})", item=str(root))
    return sorted(found, key=natural_key)


def natural_key(name: str) -> str:
    """Return a key that sorts img2 before img10: runs of digits count as numbers, of up to 20 digits."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(_MOST_DIGITS), name.casefold()) + "\0" + name


def _refuse(error: OSError) -> None:
    raise FolderError(f"cannot be read: {error.strerror}", item=str(error.filename)) from error
