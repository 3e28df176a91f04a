"""Detects JPEGs that are cut, with or without an end marker."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from io import BytesIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from aff_shared.images.files.jpeg import MOST_SEGMENTS, segments

_START_OF_SCAN = 0xDA
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart, which belong to a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_OTHER_BITS = bytes((0x5A, 0xC3, 0x96, 0x3C)) * 16
_STRIP_ROWS = 256
_MIDDLE = frozenset({127, 128})  # what the decoder makes of blocks that are missing, in every channel


def with_end_marker(data: bytes, scale: int = 1) -> bytes | None:
    """Complete a JPEG that has all of its pixels but no end marker; None where pixels are missing.

    Its scans must contain every coefficient at its full precision. Whether the last one is complete is seen from the
    pixels: where some are missing they come from whatever bits follow, so that two tails make two pictures.

    Args:
        data: As `open_jpeg` hands it to Pillow.
        scale: The pixels are looked at at this fraction of the size: 1, 2, 4 or 8.

    Returns:
        The file up to the end of its last scan, and the end marker: data behind it, such as a phone's trailer, are
        left out.
    """
    scan = _last_scan(data)
    if scan is None:
        return None
    behind = _MARKER.search(data, scan)
    body = data[: behind.start() if behind else len(data)].rstrip(b"\xff")
    restarts = sum(1 for _ in _RESTART.finditer(body, scan))
    other_bits = _OTHER_BITS + bytes((0xFF, 0xD0 + restarts % 8)) + _OTHER_BITS
    whole = body + _END
    same = _pixel_checksum(whole, scale) == _pixel_checksum(body + other_bits + _END, scale)
    return whole if same else None


def is_cut(image: Image.Image, data: bytes, scale: int = 1) -> bool:
    """Return whether pixels of a JPEG are missing before its end marker: a tool closed a file that was cut.

    The decoder fills in grey silently, or leaves a progressive picture blurred. So that most files need no second
    look, the pixels are looked at again only where the last one is of that grey.

    Args:
        image: As decoded.
        data: Its file, as `open_jpeg` hands it to Pillow.
        scale: See `with_end_marker`.
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
    for _ in range(MOST_SEGMENTS):
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
            behind = _MARKER.search(data, place)
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
