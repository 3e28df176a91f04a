"""Photographs of a folder: with a subfolder per instance, or without any labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from aff_shared.schemas.indexing import IMAGE_SUFFIXES
from aff_toolkit.data.image_files import (
    FolderError,
    UnreadableFolderError,
    encodable,
    is_image_name,
    photograph_folders,
)
from aff_toolkit.data.photograph import Photograph, load_below

_DIGITS = re.compile(r"\d+")
_MOST_DIGITS = 20
_YEAR = r"(?:19|20)\d\d"
_MONTHS = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?"
)
_DATES = re.compile(
    rf"(?<!\d){_YEAR}(?!\d)"  # 2019; 2019-05-03; Photos from 2019
    rf"|(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:[0-3]\d)?(?!\d)"  # 201905; 20190503
    r"|(?<!\d)[0-3]?\d[.\-_ ][0-3]?\d[.\-_ ]\d\d(?!\d)"  # 3.5.19
    rf"|^(?:{_MONTHS})(?![a-z])"  # May; May 3rd
    r"|^dcim$|^camera(?: roll)?$|(?-i:^\d{3}(?=\d*[A-Z_])[A-Z0-9_]{5}$)",  # 100CANON, as cameras name folders (DCF)
    re.IGNORECASE,
)
_DATED_SHARE = 0.5
_FEW = 10
_MANY_EACH = 30


@dataclass(frozen=True, slots=True)
class FolderSurvey:
    """The contents of a folder.

    Attributes:
        images: Number of image files by subfolder, in natural order.
        loose: Names of the image files that are not in a subfolder.
        empty: Subfolders without an image file in them or below; of nested ones the outermost.
        unreadable: Subfolders that cannot be read.
    """

    images: Mapping[str, int]
    loose: tuple[str, ...]
    empty: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether the subfolders are interpreted as instances: most images are in subfolders."""
        return sum(self.images.values()) > len(self.loose)


def survey_folder(root: Path) -> FolderSurvey:
    """Count the image files of a folder and its subfolders.

    Raises:
        FolderError: Not a folder, not readable, or without image files.
    """
    folders, unreadable = _folders(root)
    names = _image_paths(folders, root)
    images = Counter(str(PurePosixPath(name).parent) for name in names if "/" in name)
    filled = {str(parent) for folder in images for parent in (PurePosixPath(folder), *PurePosixPath(folder).parents)}
    empty = [folder for folder in sorted(folders, key=natural_key) if folder and folder not in filled]
    outermost = [folder for folder in empty if str(PurePosixPath(folder).parent) in {*filled, "."}]
    loose = tuple(name for name in names if "/" not in name)
    return FolderSurvey(images, loose, tuple(outermost), tuple(unreadable))


def folder_photographs(
    root: Path, *, min_side: int | None = None, loose: bool = False, unreadable: bool = False
) -> list[Photograph]:
    """Return the photographs of a folder with a subfolder per instance, in natural order.

    A photograph's name is its path below `root`; its instance is the path of its folder. With `loose`, images outside
    subfolders are left out, with `unreadable`, unreadable subfolders; otherwise they are errors.

    Raises:
        FolderError: Not a folder, not readable, without image files in subfolders, or with images outside them.
    """
    names = _image_files(root, unreadable=unreadable)
    outside = [name for name in names if "/" not in name]
    if outside and not loose:
        raise FolderError(
            f"{outside[0]} is not in a subfolder; use one subfolder per instance, or read the folder as unlabelled",
            item=str(root),
        )
    names = [name for name in names if "/" in name]
    if not names:
        raise FolderError("holds no image files in subfolders, whose names could be labels", item=str(root))
    # Photographs of one folder share one string.
    instances: dict[str, str] = {}
    return [
        Photograph(
            encodable(name),
            instances.setdefault(parent, encodable(parent)),
            partial(load_below, str(root), name, min_side),
        )
        for name, parent in ((name, str(PurePosixPath(name).parent)) for name in names)
    ]


def unlabelled_photographs(root: Path, *, min_side: int | None = None, unreadable: bool = False) -> list[Photograph]:
    """Return the photographs of a folder and its subfolders, each as a separate instance, in natural order.

    With `unreadable`, unreadable subfolders are left out rather than errors.

    Raises:
        FolderError: Not a folder, not readable, or without image files.
    """
    names = _image_files(root, unreadable=unreadable)
    shown = ((name, encodable(name)) for name in names)
    return [Photograph(text, text, partial(load_below, str(root), name, min_side)) for name, text in shown]


def _image_files(root: Path, *, unreadable: bool) -> list[str]:
    folders, closed = _folders(root)
    if closed and not unreadable:
        raise FolderError("cannot be read", item=str(root / closed[0]))
    return _image_paths(folders, root)


def _image_paths(folders: Mapping[str, Sequence[str]], root: Path) -> list[str]:
    """Return the paths of the image files below the root, with / between their parts, in natural order."""
    # A Path per file would take seconds for a million files.
    found = [f"{folder}/{name}" if folder else name for folder, names in folders.items() for name in names]
    if not found:
        raise FolderError(f"holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})", item=str(root))
    return sorted(found, key=natural_key)


def _folders(root: Path) -> tuple[dict[str, Sequence[str]], list[str]]:
    """Return the names of the image files of each folder by its path below the root, and the unreadable folders."""
    if not root.is_dir():
        raise FolderError("is not a folder", item=str(root))
    images: dict[str, Sequence[str]] = {}
    unreadable = []
    for folder in photograph_folders(str(root)):
        if not isinstance(folder, UnreadableFolderError):
            images[_below(folder.path, root)] = [name for name in folder.files if is_image_name(name)]
        elif folder.item == str(root):
            raise FolderError(folder.detail, item=folder.item) from folder
        else:
            unreadable.append(_below(str(folder.item), root))
    return images, unreadable


def _below(path: str, root: Path) -> str:
    return path.removeprefix(str(root)).lstrip("/")


def natural_key(name: str) -> str:
    """Return a key that sorts img2 before img10: runs of digits count as numbers, of up to 20 digits."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(_MOST_DIGITS), name.casefold()) + "\0" + name


def look_like_albums(images: Mapping[str, int]) -> bool:
    """Return whether subfolders, with their numbers of images, look like albums rather than like a folder per instance.

    They do if at least half of them are named after dates or by a camera, or if there are fewer than 10 of them with 30
    or more images on average.
    """
    if not images:
        return False
    dated = sum(any(_DATES.search(part) for part in folder.split("/")) for folder in images)
    few_and_large = len(images) < _FEW and sum(images.values()) >= _MANY_EACH * len(images)
    return dated >= _DATED_SHARE * len(images) or few_and_large
