"""JPEGs that Pillow does not write: other coding processes, and files taken apart."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_START, _END = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, body: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(process: int, width: int, height: int, *, bits: int = 8, sampling: Sequence[int] = (0x11,)) -> bytes:
    """A frame header of a coding process, with the sampling factors of each component."""
    parts = b"".join(bytes((number, factors, 0)) for number, factors in enumerate(sampling, 1))
    return segment(process, struct.pack(">BHHB", bits, height, width, len(sampling)) + parts)


def of_process(process: int, *, bits: int = 8, sampling: Sequence[int] = (0x11,), height: int = 64) -> bytes:
    """A JPEG of a coding process, whose only scan holds zeros."""
    header = frame(process, 64, height, bits=bits, sampling=sampling)
    components = b"".join(bytes((number, 0)) for number, _ in enumerate(sampling, 1))
    scan = bytes((len(sampling),)) + components + bytes((0, 63, 0))
    tables = segment(0xDB, bytes(1) + b"\x01" * 64)
    return _START + tables + header + segment(0xDA, scan) + bytes(8192) + _END


def lossless_jpeg(levels: NDArray[np.uint8]) -> bytes:
    """A lossless JPEG (SOF3) of (height, width) grey levels, each predicted from its left neighbour."""
    height, width = levels.shape
    codes = segment(0xC4, bytes((0, 0, 0, 0, 9, *[0] * 12, *range(9))))  # nine codes of four bits, for 0 to 8 bits
    bits = "".join(_difference(levels.astype(int), row, column) for row in range(height) for column in range(width))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\x00")
    scan = segment(0xDA, bytes((1, 1, 0, 1, 0, 0)))
    return _START + frame(0xC3, width, height) + codes + scan + data + _END


def _difference(levels: NDArray[np.int_], row: int, column: int) -> str:
    left = 128 if row == column == 0 else levels[row - 1, 0] if column == 0 else levels[row, column - 1]
    difference = int(levels[row, column] - left)
    size = abs(difference).bit_length()
    value = difference if difference > 0 else difference + 2**size - 1
    return f"{size:04b}" + (f"{value:0{size}b}" if size else "")
