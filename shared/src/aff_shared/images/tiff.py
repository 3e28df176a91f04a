"""TIFF files: the full image is read, not the reduced copy that cameras and scanners may put first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, TiffImageFile

from aff_shared.errors import UnsupportedImageError

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 259, 262
_SUB_DIRECTORIES, _SAMPLE_FORMAT = 330, 339
_UNSIGNED = 1
_READ_TAGS = frozenset(
    {
        *(_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC),
        *(_SUB_DIRECTORIES, _SAMPLE_FORMAT),
    }
)
_REDUCED, _MASK = 1, 4  # bits of _SUBFILE_TYPE
_OLD_REDUCED = 2
_TYPE_BYTES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # of unsigned integers
_PHOTOMETRICS = {
    0: "white is zero",
    1: "black is zero",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    32803: "a camera's sensor",
    34892: "a camera's linear sensor",
}
_READ_PHOTOMETRICS = frozenset({0, 1, 2, 3, 5, 6, 8})
_READ_COMPRESSIONS = frozenset(COMPRESSION_INFO) - {50001}  # libtiff of Pillow's wheels lacks WebP
_MOST_DIRECTORIES = 64
_MOST_ENTRIES = 1024
_BIG_VERSION = 43
_CANON_RAW = b"CR\x02"


@dataclass(frozen=True, slots=True)
class _Directory:
    """An image file directory.

    Attributes:
        offset: Position in the file.
        tags: Values of the tags in `_READ_TAGS`.
        following: Offset of the next one; 0 ends the chain.
    """

    offset: int
    tags: dict[int, tuple[int, ...]]
    following: int

    def tag(self, number: int, default: int = 0) -> int:
        return self.tags[number][0] if self.tags.get(number) else default

    @property
    def is_reduced(self) -> bool:
        return bool(self.tag(_SUBFILE_TYPE) & _REDUCED) or self.tag(_OLD_SUBFILE_TYPE) == _OLD_REDUCED

    @property
    def is_full(self) -> bool:
        return not self.is_reduced and not self.tag(_SUBFILE_TYPE) & _MASK

    @property
    def pixels(self) -> int:
        return self.tag(_WIDTH) * self.tag(_HEIGHT)


def open_tiff(data: bytes) -> ImageFile:
    """Read the header of a TIFF: of its first image, or of the largest full one where that is a reduced copy.

    `info["unsigned"]` and `info["white_is_zero"]` define the meaning of its levels; see `rgb_pixels`.

    Raises:
        UnsupportedImageError: The image is a camera's raw data, or has an unsupported compression.
    """
    if data.startswith(_CANON_RAW, 8):
        raise UnsupportedImageError("a camera's raw file (CR2) cannot be read")
    layout = _Layout(data)
    chosen = _full_image(layout.directories(data))
    if chosen is None:
        return TiffImageFile(BytesIO(data), "")
    _check_readable(chosen)
    image = TiffImageFile(BytesIO(layout.starting_at(data, chosen.offset)), "")
    image.info["unsigned"] = chosen.tag(_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED and image.mode == "I"
    image.info["white_is_zero"] = chosen.tag(_PHOTOMETRIC) == 0
    return image


def directory_pixels(data: bytes) -> int:
    """Return the number of pixels of the image that `open_tiff` would read; 0 without one."""
    chosen = _full_image(_Layout(data).directories(data))
    return chosen.pixels if chosen else 0


def _full_image(directories: Iterator[_Directory]) -> _Directory | None:
    first = next(directories, None)
    if first is None or not first.is_reduced:
        return first
    every = [first, *directories]
    return max(every, key=lambda directory: (directory.is_full, directory.pixels))


def _check_readable(directory: _Directory) -> None:
    photometric = directory.tag(_PHOTOMETRIC)
    if photometric not in _READ_PHOTOMETRICS:
        kind = _PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}")
        raise UnsupportedImageError(f"a TIFF whose full image is of the kind {kind!r} cannot be read")
    compression = directory.tag(_COMPRESSION, 1)
    if compression not in _READ_COMPRESSIONS:
        raise UnsupportedImageError(f"a TIFF of compression {compression} cannot be read")


class _Layout:
    """Widths and byte order of a TIFF, classic or BigTIFF, by its first bytes."""

    def __init__(self, data: bytes) -> None:
        self._order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
        big = _BIG_VERSION in data[2:4]
        self._word = 8 if big else 4
        self._count_bytes = 8 if big else 2
        self._entry = struct.Struct(("<" if self._order == "little" else ">") + ("HHQ8s" if big else "HHI4s"))

    def starting_at(self, data: bytes, offset: int) -> bytes:
        """Return the file with another directory as its first."""
        start, end = self._word, 2 * self._word
        written = offset.to_bytes(self._word, self._order)
        return data if data[start:end] == written else data[:start] + written + data[end:]

    def directories(self, data: bytes) -> Iterator[_Directory]:
        """Return the directories of the chain, each followed by those below it; none twice, and not too many."""
        waiting = [self._number(data, self._word, self._word)]
        seen = {0}
        while waiting and len(seen) <= _MOST_DIRECTORIES:
            offset = waiting.pop()
            if offset not in seen and offset + self._count_bytes <= len(data):
                seen.add(offset)
                directory = self._directory(data, offset)
                yield directory
                waiting += [directory.following, *reversed(directory.tags.get(_SUB_DIRECTORIES, ()))]

    def _number(self, data: bytes, start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], self._order)

    def _directory(self, data: bytes, offset: int) -> _Directory:
        count = self._number(data, offset, self._count_bytes)
        start = offset + self._count_bytes
        whole = min(count, _MOST_ENTRIES, (len(data) - start) // self._entry.size)
        tags: dict[int, tuple[int, ...]] = {}
        for tag, kind, length, field in self._entry.iter_unpack(data[start : start + whole * self._entry.size]):
            if tag in _READ_TAGS and tag not in tags:
                tags[tag] = self._values(data, _TYPE_BYTES.get(kind, 0), min(length, _MOST_DIRECTORIES), field)
        return _Directory(offset, tags, self._number(data, start + count * self._entry.size, self._word))

    def _values(self, data: bytes, size: int, count: int, field: bytes) -> tuple[int, ...]:
        if size * count > self._word:
            start = int.from_bytes(field, self._order)
            field = data[start : start + size * count]
        return tuple(self._number(field, size * index, size) for index in range(count)) if size else ()
