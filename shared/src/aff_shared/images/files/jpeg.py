"""JPEG files: only the segments that determine the pixels are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from aff_shared.errors import TruncatedImageError, UnsupportedImageError

_START = b"\xff\xd8"
_START_OF_SCAN, _END, _HIERARCHY, _COMMENT = 0xDA, 0xD9, 0xDE, 0xFE
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # with a segment behind it, and the end
MOST_SEGMENTS = 10_000
_APPLICATION = range(0xE0, 0xF0)
_JFIF, _EXIF, _ADOBE = (0xE0, b"JFIF\0", 14), (0xE1, b"Exif\0\0", 14), (0xEE, b"Adobe", 12)
_LOSSLESS = 0xC3
_PROCESSES = {
    0xC0: "baseline",
    0xC1: "extended sequential",
    0xC2: "progressive",
    _LOSSLESS: "lossless",
    0xC5: "differential sequential",
    0xC6: "differential progressive",
    0xC7: "differential lossless",
    0xC9: "arithmetic sequential",
    0xCA: "arithmetic progressive",
    0xCB: "arithmetic lossless",
    0xCD: "arithmetic differential sequential",
    0xCE: "arithmetic differential progressive",
    0xCF: "arithmetic differential lossless",
    _HIERARCHY: "hierarchical",
    0xF7: "JPEG-LS",
}
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_COEFFICIENT_BYTES = 2
_READ = frozenset({0xC0, 0xC1, 0xC2, _LOSSLESS, 0xC9, 0xCA})
_BITS, _COMPONENTS = 8, frozenset({1, 3, 4})
_FRAME_BYTES = 6  # before the components


class Segment(NamedTuple):
    """A marker segment.

    Attributes:
        marker: Second byte of its marker.
        start: Where its marker begins in the file.
        body: Where its content begins, behind the length.
        end: Behind its content.
    """

    marker: int
    start: int
    body: int
    end: int


def open_jpeg(data: bytes) -> ImageFile:
    """Read the header of a JPEG.

    Pillow reads only what determines the pixels; of the application segments these are JFIF and Adobe, for the colours.
    The first EXIF becomes the image's `info["exif"]`; `info["scalable"]` is whether it can be decoded at a fraction
    of its size, and `info["coefficient_bytes"]` the memory of its decoder in addition to the pixels, for several scans.

    Raises:
        TruncatedImageError: It ends before its first scan.
        UnsupportedImageError: Its coding process, named in the error, is one that cannot be read.
    """
    parts = memoryview(data)
    kept = [parts[:2]]
    exif, process, frame = b"", 0, b""
    for segment in segments(data):
        if segment.marker == _START_OF_SCAN:
            kept.append(parts[segment.start :])
            image = JpegImageFile(BytesIO(b"".join(kept)), "")
            scans = process in _PROGRESSIVE or data[segment.body] < frame[5]
            coefficient_bytes = _coefficient_bytes(frame) if scans else 0
            image.info.update(exif=exif, scalable=process != _LOSSLESS, coefficient_bytes=coefficient_bytes)
            return image
        if segment.marker in _PROCESSES:
            process, frame = segment.marker, data[segment.body : segment.end]
            _check_process(process, frame)
        if _is(_EXIF, data, segment):
            exif = exif or data[segment.body : segment.end]
        elif not _lies_beside(data, segment):
            kept.append(parts[segment.start : segment.end])
    raise TruncatedImageError("it ends before its first scan")


def frame_size(data: bytes) -> int:
    """Return width times height of a JPEG by its frame header; 0 without one."""
    for segment in segments(data):
        if segment.marker in _PROCESSES and segment.marker != _HIERARCHY:
            frame = data[segment.body : segment.end]
            return int.from_bytes(frame[1:3]) * int.from_bytes(frame[3:5])
    return 0


def segments(data: bytes, place: int = len(_START)) -> Iterator[Segment]:
    """Return the marker segments from a position to the end marker; bytes between them are skipped.

    Raises:
        TruncatedImageError: There are more segments than are read.
    """
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None or data[found.start() + 1] == _END:
            return
        body = found.end() + 2
        place = found.end() + int.from_bytes(data[found.end() : body])
        if place < body or place > len(data):
            return
        yield Segment(data[found.start() + 1], found.start(), body, place)
    raise TruncatedImageError(f"it has more than {MOST_SEGMENTS} segments")


def _is(kind: tuple[int, bytes, int], data: bytes, segment: Segment) -> bool:
    """Return whether an application segment is of a kind: its marker, its first bytes, and its least length."""
    marker, name, length = kind
    return (
        segment.marker == marker
        and data.startswith(name, segment.body, segment.end)
        and segment.end - segment.body >= length
    )


def _lies_beside(data: bytes, segment: Segment) -> bool:
    if segment.marker in _APPLICATION:
        return not (_is(_JFIF, data, segment) or _is(_ADOBE, data, segment))
    return segment.marker == _COMMENT


def _check_process(marker: int, frame: bytes) -> None:
    """Reject files that libjpeg-turbo, or Pillow, cannot decode.

    Args:
        marker: Marker of the frame, in `_PROCESSES`.
        frame: Its header: bits, height, width, and for each component id, sampling factors and table.
    """
    process = f"a JPEG of the {_PROCESSES[marker]} process"
    if marker not in _READ:
        raise UnsupportedImageError(f"{process} cannot be read")
    if len(frame) < _FRAME_BYTES or len(frame) < _FRAME_BYTES + 3 * frame[5]:
        raise TruncatedImageError("its frame header is cut")
    if frame[0] != _BITS:
        raise UnsupportedImageError(f"{process} with {frame[0]} bits a sample cannot be read")
    if frame[5] not in _COMPONENTS:
        raise UnsupportedImageError(f"{process} with {frame[5]} components cannot be read")
    if frame[1:3] == b"\0\0":
        raise UnsupportedImageError(f"{process} whose height follows the scan (DNL) cannot be read")
    factors = [divmod(factor, 16) for factor in frame[7 : _FRAME_BYTES + 3 * frame[5] : 3]]
    for along in zip(*factors, strict=True):
        if 0 not in along and any(max(along) % factor for factor in along):
            raise UnsupportedImageError(f"{process} with fractional sampling factors cannot be read")


def _coefficient_bytes(frame: bytes) -> int:
    """Return the bytes of all coefficients by the frame's header: each component has its own resolution."""
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    factors = frame[7 : _FRAME_BYTES + 3 * frame[5] : 3]
    shares = [across * down for across, down in (divmod(factor, 16) for factor in factors)]
    return _COEFFICIENT_BYTES * height * width * sum(shares) // max(*shares, 1)
