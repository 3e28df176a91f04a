"""Image files below a folder: which names count and which are left out, for indexing and for training."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import IMAGE_SUFFIXES

_SUFFIXES = tuple(IMAGE_SUFFIXES)
# System files and folders among photographs, in lower case: Windows, macOS, Linux, Synology, QNAP.
_SYSTEM_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("__macosx", "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
    }
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


class UnreadableFolderError(AffError):
    """A folder is not readable, does not exist, or is a broken link."""

    code, status, title = "folder_unreadable", 422, "Unreadable folder"


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder.

    Attributes:
        identity: Equal for two paths of the same folder.
        files: Names that are neither folders nor links to folders.
        links: Names of links to folders, and of broken links without a suffix.
    """

    identity: object
    files: list[str]
    folders: list[str]
    links: list[str]


@dataclass(frozen=True, slots=True)
class PhotographFolder:
    """A folder, whose path starts with the root, and the sorted names of its files without hidden and system files."""

    path: str
    files: list[str]


def list_folder(path: str) -> Listing:
    """List a folder of this machine.

    Raises:
        OSError: It cannot be read.
    """
    status = Path(path).stat()
    listing = Listing((status.st_dev, status.st_ino), [], [], [])
    with os.scandir(path) as entries:
        for entry in entries:
            _kind(entry, listing).append(entry.name)
    return listing


def _kind(entry: os.DirEntry[str], listing: Listing) -> list[str]:
    if not entry.is_symlink():
        return listing.folders if entry.is_dir() else listing.files
    try:
        to_folder = stat.S_ISDIR(entry.stat().st_mode)
    except OSError:
        to_folder = not PurePath(entry.name).suffix
    return listing.links if to_folder else listing.files


def photograph_folders(
    root: str, list_one: Callable[[str], Listing] = list_folder, enter: Callable[[str], bool] = lambda _: True
) -> Iterator[PhotographFolder | UnreadableFolderError]:
    """Yield a folder and those below it, in the order of their names, and an error for each that cannot be read.

    Hidden folders and system folders below the root are left out. Linked folders are visited after all others. Each
    folder is visited once, so that a folder with several paths has the one without links, and loops end. `list_one`
    lists a folder or raises OSError; `enter` returns whether to read the folder of a path.
    """
    visited: set[object] = set()
    waiting, linked = [root], deque[str]()
    while waiting or linked:
        path = waiting.pop() if waiting else linked.popleft()
        try:
            listing = list_one(path)
        except OSError as error:
            yield UnreadableFolderError(f"cannot be read: {error.strerror or error}", item=path)
            continue
        if listing.identity in visited:
            continue
        visited.add(listing.identity)
        yield PhotographFolder(path, sorted(name for name in listing.files if not is_hidden(name)))
        waiting += [below for below in reversed(_below(path, listing.folders)) if enter(below)]
        linked += [below for below in _below(path, listing.links) if enter(below)]


def _below(path: str, names: list[str]) -> list[str]:
    return [f"{path.rstrip('/')}/{name}" for name in sorted(names) if not is_hidden(name)]


class FolderError(AffError):
    """A folder of photographs cannot be used."""

    code, status, title = "folder_unusable", 422, "Unusable folder"


def is_image_name(name: str) -> bool:
    """Return whether a file name has the suffix of an image format."""
    return name.lower().endswith(_SUFFIXES)


def is_hidden(path: str) -> bool:
    """Return whether a part of a path is a hidden name, or the name of a system file among photographs.

    Hidden names begin with a dot: `._IMG_1.jpg`, `.thumbnails`, `.Trash-1000`.
    """
    return any(
        (part.startswith(".") and part not in {".", ".."}) or part.lower() in _SYSTEM_NAMES for part in path.split("/")
    )


def encodable(name: str) -> str:
    r"""Return a file name with escapes such as `\xe9` for bytes that are not UTF-8 and for control characters."""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of UTF-16 pairs, which no file system has
        text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROLS.sub(lambda control: "".join(f"\\x{byte:02x}" for byte in control[0].encode()), text)


def with_escapes_undone(name: str) -> str:
    """Return the original of a name that `encodable` returned, with surrogate escapes for bytes that are not UTF-8."""
    pieces = _ESCAPED.split(name)
    pieces[1::2] = [bytes.fromhex(digits).decode("utf-8", "surrogateescape") for digits in pieces[1::2]]
    return "".join(pieces)
