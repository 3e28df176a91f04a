"""Files of this machine and of fsspec's file systems, by path, pattern or URL."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from glob import has_magic
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from unicodedata import normalize

from fsspec import filesystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from aff_toolkit.data.image_files import (
    Listing,
    UnreadableFolderError,
    list_folder,
    photograph_folders,
    with_escapes_undone,
)
from aff_toolkit.data.photograph import max_image_bytes, read_photograph, regular_file_size, too_many_bytes
from aff_toolkit.indexing.remote_files import WEB_OPTIONS, beside, is_web, read_patiently, sendable
from aff_toolkit.indexing.source_item import SourceError

_Result = TypeVar("_Result")
_ANY_DEPTH = "**"


class Place:
    """A path within a file system.

    Attributes:
        path: As the file system writes it.
        local: Whether it is on this machine.
    """

    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self.path = path
        self.local = isinstance(files, LocalFileSystem)

    @classmethod
    def at(cls, location: str) -> Place:
        """Find the file system of a path or URL; a text without `://` is a path.

        Raises:
            SourceError: The protocol is unknown, or its driver is not installed.
        """
        try:
            if is_web(location):
                files, path = filesystem("https", **WEB_OPTIONS), sendable(location)
            elif not has_protocol(location):
                files, path = LocalFileSystem(), _absolute(location)
            else:
                files, path = url_to_fs(location)
        except ImportError as error:  # fsspec's message names the package
            raise SourceError(f"{error}; install it with pip", item=location) from error
        except (
            ValueError,
            RuntimeError,
            OSError,
        ) as error:  # an unknown home directory, or a deleted working directory
            raise SourceError(str(error), item=location) from error
        return cls(files, path)

    def __str__(self) -> str:
        return self.path if self.local else cast("str", self._files.unstrip_protocol(self.path))

    def with_path(self, path: str) -> Place:
        """Return another place of the same file system."""
        return Place(self._files, path)

    def beside(self, path: str) -> Place:
        """Resolve a path that this file contains: an absolute one, or one relative to its folder."""
        if is_web(self.path):
            return self.with_path(beside(self.path, path))
        absolute = self.local and path.startswith("/")
        return self.with_path(path if absolute else f"{self.path.rpartition('/')[0]}/{path}")

    def is_folder(self) -> bool:
        """Return whether it is a directory."""
        return bool(self._files.isdir(self.path))

    def exists(self) -> bool:
        """Return whether it exists."""
        return bool(self._files.exists(str(self._local_path) if self.local else self.path))

    def files_below(self, enter: Callable[[str], bool] | None = None) -> Iterator[Place | UnreadableFolderError]:
        """Yield every file below a folder, and an error for each folder that cannot be read; see photograph_folders.

        Args:
            enter: Whether to read the folder of a path; None reads all.
        """
        list_one = list_folder if self.local else self._list_remote
        for folder in photograph_folders(self.path, list_one, enter or (lambda _: True)):
            if isinstance(folder, UnreadableFolderError):
                yield folder
            else:
                yield from (self.with_path(f"{folder.path.rstrip('/')}/{name}") for name in folder.files)

    def pattern(self) -> FilePattern:
        """Interpret the path as a pattern.

        Raises:
            SourceError: See FilePattern.of.
        """
        try:
            return FilePattern.of(self.path, lambda path: self.with_path(path).is_folder())
        except ValueError as error:
            raise SourceError(str(error), item=str(self)) from error

    def glob(self) -> Iterator[Place]:
        """Yield the files that a pattern matches, each folder in the order of its names.

        Raises:
            SourceError: A folder of the pattern cannot be read.
        """
        pattern = self.pattern()
        for file in self.with_path(pattern.root).files_below(pattern.may_match_below):
            if isinstance(file, UnreadableFolderError):
                raise SourceError(file.detail, item=file.item) from file
            if pattern.matches(file.path):
                yield file

    def open(self) -> BinaryIO:
        """Open a regular file for sequential reading; raises the same errors as `read`."""
        if self.local:
            regular_file_size(Path(self.path))
        return cast("BinaryIO", self._read(lambda: self._files.open(self.path, "rb")))

    def read(self) -> bytes:
        """Read an image file; reads of remote files are repeated, see read_patiently.

        Raises:
            PhotographUnreadableError: See read_photograph.
            ImageTooManyBytesError: It is larger than max_image_bytes.
            SourceError: A web host rejects the request.
            Exception: Any exception of the file system.
        """
        if self.local:
            return read_photograph(self._local_path)
        most = max_image_bytes()
        data = cast("bytes", self._read(lambda: self._files.cat_file(self.path, end=most + 1)))
        if len(data) > most:
            raise too_many_bytes(str(self))
        return data

    @property
    def _local_path(self) -> Path:
        """The file of the path, which may be written as by `encodable`, or in another form of Unicode than its name."""
        forms = (self.path, with_escapes_undone(self.path), *(normalize(form, self.path) for form in ("NFC", "NFD")))
        return Path(next((form for form in forms if os.path.lexists(form)), self.path))

    def _list_remote(self, path: str) -> Listing:
        try:
            entries = self._read(lambda: self._files.ls(path, detail=True))
        except OSError:
            raise
        except Exception as error:  # drivers raise exceptions of any type
            raise OSError(str(error) or type(error).__name__) from error
        listing = Listing(path, [], [], [])
        for entry in entries:
            below = entry["name"].rstrip("/")
            if below != path.rstrip("/"):
                names = listing.folders if entry["type"] == "directory" else listing.files
                names.append(below.rpartition("/")[2])
        return listing

    def _read(self, call: Callable[[], _Result]) -> _Result:
        return call() if self.local else read_patiently(call, web=is_web(self.path))


def has_protocol(location: str) -> bool:
    """Return whether a text is a URL of a file system rather than a path."""
    return "://" in location


def _absolute(location: str) -> str:
    """Return a path of this machine from its root on; `~` is a home directory unless a file is called so."""
    if not location:
        raise ValueError("the path is empty")
    path = Path(location)
    if location.startswith("~") and not os.path.lexists(path.parts[0]):
        path = path.expanduser()
    return str(path.absolute())


@dataclass(frozen=True, slots=True)
class FilePattern:
    """A pattern of paths below a folder: `*`, `?` and `[...]` within a name, `**` for any number of folders.

    Attributes:
        root: Path of the folder.
        parts: Parts of the pattern below the root.
    """

    root: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, path: str, is_folder: Callable[[str], bool]) -> FilePattern:
        """Interpret a path as a pattern; the root is its longest prefix that exists as a folder.

        Raises:
            ValueError: `**` is combined with other characters.
        """
        parts = path.split("/")
        fixed = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
        while fixed < len(parts) - 1 and is_folder("/".join(parts[: fixed + 1])):
            fixed += 1
        pattern = cls("/".join(parts[:fixed]) or "/", tuple(parts[fixed:]))
        if any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in pattern.parts):
            raise ValueError("** stands for whole folders, as in photos/**/*.jpg")
        return pattern

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches a path."""
        return _regex(self.parts).match(self._below(path)) is not None

    def may_match_below(self, folder: str) -> bool:
        """Return whether the pattern may match something in a folder, or below it."""
        names = self._below(folder).split("/")
        before = self.parts.index(_ANY_DEPTH) if _ANY_DEPTH in self.parts else len(self.parts)
        if before == len(self.parts) <= len(names):
            return False
        depth = min(before, len(names))
        return _regex(self.parts[:depth]).match("/".join(names[:depth])) is not None

    def _below(self, path: str) -> str:
        return path.removeprefix(self.root).lstrip("/")


@cache
def _regex(parts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(glob_translate("/".join(parts)))
