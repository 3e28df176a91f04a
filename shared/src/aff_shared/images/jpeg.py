"""JPEG files: only the segments that determine the pixels are read, and files that are cut are detected."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from aff_shared.errors import TruncatedImageError, UnsupportedImageError

_START = b"\xff\xd8"
_START_OF_SCAN, _END, _HIERARCHY, _COMMENT = 0xDA, 0xD9, 0xDE, 0xFE
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # with a segment behind it, and the end
_MOST_SEGMENTS = 10_000
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

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_MARKER = b"\xff\xd9"
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart, which belong to a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_OTHER_BITS = bytes((0x5A, 0xC3, 0x96, 0x3C)) * 16
_STRIP_ROWS = 256
_MIDDLE = frozenset({127, 128})  # what the decoder makes of blocks that are missing, in every channel


class Segment(NamedTuple):
    """A marker segment: the second byte of its marker, and where marker, content and what follows begin."""

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
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None or data[found.start() + 1] == _END:
            return
        body = found.end() + 2
        place = found.end() + int.from_bytes(data[found.end() : body])
        if place < body or place > len(data):
            return
        yield Segment(data[found.start() + 1], found.start(), body, place)
    raise TruncatedImageError(f"it has more than {_MOST_SEGMENTS} segments")


def _is(kind: tuple[int, bytes, int], data: bytes, segment: Segment) -> bool:
    """Return whether an application segment is of a kind: its marker, its first bytes, and its least length."""
    marker, name, length = kind
    named = segment.marker == marker and data.startswith(name, segment.body, segment.end)
    return named and segment.end - segment.body >= length


def _lies_beside(data: bytes, segment: Segment) -> bool:
    if segment.marker in _APPLICATION:
        return not (_is(_JFIF, data, segment) or _is(_ADOBE, data, segment))
    return segment.marker == _COMMENT


def _check_process(marker: int, frame: bytes) -> None:
    """Reject files that libjpeg-turbo, or Pillow, cannot decode.

    The frame's header has bits, height, width, and for each component id, sampling factors and table.
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


def with_end_marker(data: bytes, scale: int = 1) -> bytes | None:
    """Complete a JPEG that has all of its pixels but no end marker; None where pixels are missing.

    Its scans must contain every coefficient at its full precision. Whether the last one is complete is seen from the
    pixels: where some are missing they come from whatever bits follow, so that two tails make two pictures.

    Args:
        data: As `open_jpeg` passes it to Pillow.
        scale: The pixels are compared at this fraction of the size: 1, 2, 4 or 8.

    Returns:
        The file up to the end of its last scan, and the end marker; without a trailer.
    """
    scan = _last_scan(data)
    if scan is None:
        return None
    behind = _AFTER_SCAN.search(data, scan)
    body = data[: behind.start() if behind else len(data)].rstrip(b"\xff")
    restarts = sum(1 for _ in _RESTART.finditer(body, scan))
    other_bits = _OTHER_BITS + bytes((0xFF, 0xD0 + restarts % 8)) + _OTHER_BITS
    whole = body + _END_MARKER
    same = _pixel_checksum(whole, scale) == _pixel_checksum(body + other_bits + _END_MARKER, scale)
    return whole if same else None


def is_cut(image: Image.Image, data: bytes, scale: int = 1) -> bool:
    """Return whether pixels of a JPEG are missing before its end marker: a tool closed a file that was cut.

    The decoder fills in grey silently, or leaves a progressive picture blurred. Most files are not decoded twice: only
    those whose last pixel is of that grey. For `data` and `scale`, see `with_end_marker`.
    """
    if image.info.get("progressive") and _last_scan(data) is None:
        return True
    last = image.getpixel((image.width - 1, image.height - 1))
    levels = last if isinstance(last, tuple) else (last,)
    return _MIDDLE.issuperset(levels) and with_end_marker(data, scale) is None


def _last_scan(data: bytes) -> int | None:
    """Return where the data of the scan begins with which every component is complete."""
    missing: dict[int, set[int]] = {}
    progressive = False
    place = 2
    for _ in range(_MOST_SEGMENTS):
        segment = next(segments(data, place), None)
        if segment is None:
            break
        body, place = data[segment.body : segment.end], segment.end
        if segment.marker in _FRAMES:
            progressive = segment.marker in _PROGRESSIVE
            missing = {component: set(range(64)) for component in body[6 : 6 + 3 * body[5] : 3]}
        elif segment.marker == _START_OF_SCAN:
            _strike(missing, body, progressive)
            if not any(missing.values()):
                return place
            behind = _AFTER_SCAN.search(data, place)
            place = behind.start() if behind else len(data)
    return None


def _strike(missing: dict[int, set[int]], scan: bytes, progressive: bool) -> None:
    """Strike off the coefficients that a scan completes, by its header."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        return
    first, last, precision = scan[1 + 2 * count : 4 + 2 * count]
    completed: Iterable[int] = range(64)
    if progressive:
        completed = range(first, last + 1) if precision & 0x0F == 0 else ()
    for component in scan[1 : 1 + 2 * count : 2]:
        missing.get(component, set()).difference_update(completed)


def _pixel_checksum(data: bytes, scale: int) -> int:
    image = JpegImageFile(BytesIO(data), "")
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    width, height = image.size
    checksum = 0
    for top in range(0, height, _STRIP_ROWS):
        strip = image.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum
