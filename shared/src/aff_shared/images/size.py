"""The size that an image file announces, read without any decoder."""

from __future__ import annotations

import struct
from itertools import chain

from aff_shared.errors import ImageError
from aff_shared.images.files.av1 import coded_sizes
from aff_shared.images.files.avif_size import announced_sizes, coded_pictures
from aff_shared.images.files.jpeg import frame_size
from aff_shared.images.files.tiff import directory_pixels

_PNG, _GIF, _BMP, _TIFF = b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", (b"II", b"MM")
_FILE_TYPE = b"ftyp"
_OLD_BMP_HEADER = 12


def announced_pixels(data: bytes) -> int:
    """Return the width times the height that an image file announces; 0 where it announces none.

    Nothing but the numbers of its header is read, in Python: for a process that does not trust the file. What the
    file holds may be another size; see `decode_image`. Of an AVIF, the AV1 data announce one too: the larger counts.
    """
    try:
        return _pixels(data)
    except (ImageError, struct.error, LookupError, ValueError, OverflowError):
        return 0


def _pixels(data: bytes) -> int:
    if data.startswith(b"\xff\xd8"):
        return frame_size(data)
    if data.startswith(_PNG):
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(_GIF):
        width, height = struct.unpack_from("<HH", data, 6)
    elif data.startswith(_BMP):
        old = struct.unpack_from("<I", data, 14)[0] == _OLD_BMP_HEADER
        width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        width, height = _webp_size(data)
    elif data.startswith(_TIFF):
        return directory_pixels(data)
    elif data[4:8] == _FILE_TYPE:  # AVIF and HEIC
        coded = (size for picture in coded_pictures(data) for size in coded_sizes(picture))
        return max((wide * high for wide, high in chain(announced_sizes(data), coded)), default=0)
    else:
        return 0
    return abs(int(width) * int(height))


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
