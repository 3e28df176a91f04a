"""Patterns of paths such as `photos/**/*.jpg`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from glob import has_magic

from fsspec.utils import glob_translate

_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class FilePattern:
    """A pattern of paths below a folder: `*`, `?` and `[...]` within a name, `**` for any number of folders.

    Attributes:
        root: Path of the folder.
        parts: Of the pattern, from the root on.
    """

    root: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, path: str, is_folder: Callable[[str], bool]) -> FilePattern:
        """Take a path for a pattern; its parts up to the last folder that exists under that very name are the root.

        Raises:
            ValueError: `**` stands beside other characters.
        """
        parts = path.split("/")
        fixed = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
        while fixed < len(parts) - 1 and is_folder("/".join(parts[: fixed + 1])):
            fixed += 1
        pattern = cls("/".join(parts[:fixed]) or "/", tuple(parts[fixed:]))
        if any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in pattern.parts):
            raise ValueError("** takes the place of whole folders, as in photos/**/*.jpg")
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
