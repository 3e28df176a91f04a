"""Builders of encoded images, good and bad."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def gradient(width: int = 64, height: int = 48) -> Pixels:
    """(height, width, 3) uint8: red rises to the right, green rises downwards, blue stays at 128."""
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, width).astype(np.uint8)
    pixels[:, :, 1] = np.linspace(0, 255, height).astype(np.uint8)[:, np.newaxis]
    return pixels


def quarters(side: int = 32) -> Pixels:
    """(side, side, 3) uint8: red and green above, blue and white below; no two quarters alike."""
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    return colours.repeat(side // 2, axis=0).repeat(side // 2, axis=1)


def encode(image: Pixels | Image.Image, image_format: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format of that name."""
    stream = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, format=image_format, **options)
    return stream.getvalue()


def jpeg_bytes(image: Pixels | None = None, *, orientation: int = 1, quality: int = 95) -> bytes:
    """A JPEG without chroma subsampling, of a gradient where no image is given."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(gradient() if image is None else image, "JPEG", quality=quality, subsampling=0, exif=exif)


def png_bytes(image: Pixels | None = None) -> bytes:
    """A PNG, of a gradient where no image is given."""
    return encode(gradient() if image is None else image, "PNG")


def bomb_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """A whole, valid black PNG of that size, built row by row, never in memory."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return png_file([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


def grey16_png(levels: NDArray[np.uint16], *, transparent: int | None = None) -> bytes:
    """A 16-bit greyscale PNG of (height, width) levels, of which one may be transparent."""
    mark = b"" if transparent is None else struct.pack(">H", transparent)
    return _png16(levels, colour_type=0, transparent=mark)


def rgb16_png(levels: NDArray[np.uint16]) -> bytes:
    """A 16-bit RGB PNG of (height, width, 3) levels, which Pillow cannot write."""
    return _png16(levels, colour_type=2)


def grey_alpha16_png(levels: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG of (height, width, 2) levels of grey and alpha, which Pillow cannot write."""
    return _png16(levels, colour_type=4)


def _png16(levels: NDArray[np.uint16], *, colour_type: int, transparent: bytes = b"") -> bytes:
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    beside = [(b"tRNS", transparent)] if transparent else []
    return png_file([(b"IHDR", header), *beside, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of these chunks, each with its right length and CRC."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
