"""The largest images that are accepted: many pixels, little content."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.support.images import encode, gradient, png_file

_SIDE = 10_000


def _png(bits: int, colour_type: int, pixel: bytes) -> bytes:
    compressor = zlib.compressobj(1)
    rows = b"\0" + pixel * _SIDE
    data = b"".join(compressor.compress(rows) for _ in range(_SIDE)) + compressor.flush()
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, bits, colour_type, 0, 0, 0)
    return png_file([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


def _float_tiff() -> bytes:
    """One strip of all rows, compressed: what cannot be read strip by strip."""
    row = struct.pack("<f", 0.5) * _SIDE
    compressor = zlib.compressobj(1)
    strip = b"".join(compressor.compress(row) for _ in range(_SIDE)) + compressor.flush()
    tags = {256: _SIDE, 257: _SIDE, 258: 32, 259: 8, 262: 1, 273: 8, 277: 1, 278: _SIDE, 279: len(strip), 339: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sI", b"II*\0", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def _pillow(image_format: str, size: tuple[int, int], **options: object) -> bytes:
    return encode(Image.fromarray(gradient(64, 64)).resize(size, Image.Resampling.NEAREST), image_format, **options)


LARGEST_IMAGES: dict[str, Callable[[], bytes]] = {
    "RGBA PNG": lambda: _png(8, 6, bytes((200, 30, 30, 128))),
    "float TIFF": _float_tiff,
    "progressive JPEG": lambda: _pillow("JPEG", (_SIDE, _SIDE), progressive=True, quality=5),
}
