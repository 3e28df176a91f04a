"""Files of the machine and of every file system that fsspec knows, by path or URL."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from aff_toolkit.indexing.source_item import SourceError

_READ_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.5


class Place:
    """A path within a file system.

    Attributes:
        path: As the file system writes it.
        local: Whether it lies on this machine.
    """

    def __init__(self, files: Any, path: str) -> None:
        self._files = files
        self.path = path
        self.local = isinstance(files, LocalFileSystem)

    @classmethod
    def at(cls, location: str) -> Place:
        """Find the file system of a path or URL.

        Raises:
            SourceError: There is no such protocol, or its driver is not installed.
        """
        try:
            files, path = url_to_fs(location)
        except ImportError as error:  # fsspec's own words name the package
            raise SourceError(f"{error}; install it with pip", item=location) from error
        except ValueError as error:
            raise SourceError(str(error), item=location) from error
        return cls(files, path)

    def __str__(self) -> str:
        return self.path if self.local else cast("str", self._files.unstrip_protocol(self.path))

    def with_path(self, path: str) -> Place:
        """Return another place of the same file system."""
        return Place(self._files, path)

    def is_folder(self) -> bool:
        """Say whether it is a directory."""
        return bool(self._files.isdir(self.path))

    def exists(self) -> bool:
        """Say whether there is anything."""
        return bool(self._files.exists(self.path))

    def files_below(self) -> Iterator[Place]:
        """Give every file below a directory, as the directories are read, each in the order of its names."""
        # os.walk follows no links to directories, which may lead in circles.
        walk = os.walk(self.path) if self.local else self._files.walk(self.path)
        for directory, folders, names in walk:
            if isinstance(folders, list):
                folders.sort()
            for name in sorted(names):
                yield self.with_path(f"{directory.rstrip('/')}/{name}")

    def glob(self) -> Iterator[Place]:
        """Give the files that a pattern matches, in the order of their names."""
        for path in sorted(self._files.glob(self.path)):
            place = self.with_path(path)
            if not place.is_folder():
                yield place

    def open(self) -> BinaryIO:
        """Open a file for reading from its beginning to its end."""
        return cast("BinaryIO", self._files.open(self.path, "rb"))

    def read(self) -> bytes:
        """Read a file; what is remote is tried three times, with growing pauses, unless it is missing or forbidden."""
        for attempt in range(1 if self.local else _READ_ATTEMPTS):
            try:
                return cast("bytes", self._files.cat_file(self.path))
            except (FileNotFoundError, PermissionError):
                raise
            except Exception:
                if attempt + 1 == _READ_ATTEMPTS or self.local:
                    raise
                time.sleep(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))
        raise AssertionError("every way out is above")


def has_protocol(location: str) -> bool:
    """Say whether a text is a URL of a file system rather than a path."""
    return "://" in location
