"""Files of vectors and ids that another tool made: which belong together, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.indexing.source_item import SourceError, reading

_MATRIX = 2
_ROW_FILES = (".jsonl", ".parquet", ".txt", ".npy")


def files_of(path: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix, in any case, in a directory, or the file itself, in the order of their numbers."""
    if path.is_dir():
        return sorted((file for file in path.iterdir() if _is_one(file, suffix) and file.is_file()), key=_by_number)
    return [path] if _is_one(path, suffix) else []


def _is_one(file: Path, suffix: str) -> bool:
    return file.suffix.lower() == suffix and not file.name.startswith(".")


def _by_number(path: Path) -> list[Any]:
    """Return a key in which `part_10` follows `part_9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.name)]


def matrices(path: Path) -> list[tuple[Path, NDArray[Any]]]:
    """Return the npy files that are (N, D), and their mapped arrays; errors as `array_of`."""
    opened = [(file, array_of(file)) for file in files_of(path, ".npy")]
    return [(file, array) for file, array in opened if array.ndim == _MATRIX]


def array_of(file: Path) -> NDArray[Any]:
    """Map an npy file; raises SourceError for another file, or one of Python objects."""
    with reading(str(file)):
        array: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
        return array


def row_files(path: Path, vectors: Sequence[Path]) -> list[Path]:
    """Return the files of ids, of one kind."""
    directory = path if path.is_dir() else path.parent
    kinds = [files_of(directory, suffix) for suffix in _ROW_FILES] if path.is_dir() or path in vectors else [[path]]
    found = [files for kind in kinds if (files := [file for file in kind if file not in vectors])]
    if len(found) != 1 or not found[0][0].exists():
        detail = "no file" if not found else "no such file" if len(found) == 1 else "several kinds of files"
        raise SourceError(
            f"{detail} with the ids of the vectors: name one with --ids (text with an id a line, npy, JSON Lines or "
            "Parquet)",
            item=str(path),
        )
    if found[0][0].suffix.lower() in _ROW_FILES:
        return found[0]
    raise SourceError(f"ids are read from {', '.join(_ROW_FILES)}", item=str(path))
