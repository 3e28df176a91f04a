"""Size that an image file announces, memory that its decoder needs, and a limit on large images at the same time."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING

from PIL.ImageFile import ImageFile

from aff_shared.errors import ImageError, ImageTooManyPixelsError, ServiceOverloadedError
from aff_shared.images.av1 import coded_sizes
from aff_shared.images.colour import encoded_file, is_deep_colour
from aff_shared.images.heif_boxes import announced_sizes, coded_pictures
from aff_shared.images.jpeg import frame_size
from aff_shared.images.strips import is_streamed
from aff_shared.images.tiff import directory_pixels

if TYPE_CHECKING:
    from aff_shared.images.decoding import ImageLimits

_PNG, _GIF, _BMP, _TIFF = b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", (b"II", b"MM")
_FILE_TYPE = b"ftyp"
_OLD_BMP_HEADER = 12


def announced_pixels(data: bytes) -> int:
    """Return the width times the height that an image file announces; 0 if it announces none.

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


_SCALES = (1, 2, 4, 8)
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_OTHER_PIXEL_BYTES = 4
# Measured with libavif and libheif, by the channels and, of HEIC, bits beyond eight.
_AVIF_BYTES, _HEIC_BYTES, _HEIC_DEEP_BYTES, _HEIC_ALPHA_BYTES = 14, 6, 4, 2
_DEEP_COLOUR_COPIES = 5
_WEBP_LOSSLESS, _WEBP_LOSSLESS_BYTES, _WEBP_BYTES = b"VP8L", 4, 2
_BITS = 8


def require_memory(image: ImageFile, pixels: int, limit_bytes: int) -> int:
    """Reject an image that cannot be decoded within a memory limit.

    Args:
        image: As it was opened.
        pixels: Number of decoded pixels; a HEIC may show a part of them.
        limit_bytes: Limit on the decoder and its pixels, without the file.

    Returns:
        1, or for a JPEG the least factor by which it has to be reduced while it is decoded: 2, 4 or 8.

    Raises:
        ImageTooManyPixelsError: It has too many pixels for its kind.
    """
    scales = _SCALES if image.info.get("scalable") else _SCALES[:1]
    for scale in scales:
        needed = image.info.get("coefficient_bytes", 0) + pixels * _bytes_per_pixel(image) // scale**2
        if needed <= limit_bytes:
            return scale
    raise ImageTooManyPixelsError(
        f"{image.width} x {image.height} pixels of a {_kind(image)} ({pixels} are decoded) take about "
        f"{needed / 1e6:.0f} MB at once to decode; the limit max_decoder_bytes is {limit_bytes / 1e6:.0f} MB"
    )


def _bytes_per_pixel(image: ImageFile) -> int:
    if image.format == "AVIF":
        return _AVIF_BYTES
    if image.format == "HEIF":
        deep = _HEIC_DEEP_BYTES if image.info.get("bit_depth", _BITS) > _BITS else 0
        return _HEIC_BYTES + deep + _HEIC_ALPHA_BYTES * ("A" in image.getbands())
    if image.format == "WEBP":
        return _WEBP_LOSSLESS_BYTES if _WEBP_LOSSLESS in encoded_file(image) else _WEBP_BYTES
    if is_streamed(image):
        return 0
    copies = _DEEP_COLOUR_COPIES if is_deep_colour(image) else 1
    return copies * _PIXEL_BYTES.get(image.mode, _OTHER_PIXEL_BYTES)


def _kind(image: ImageFile) -> str:
    if image.info.get("coefficient_bytes"):
        return "JPEG with several scans"
    return f"{image.format} that is read as a whole"


_RETRY_AFTER_S = 2


class PixelBudget:
    """Large images wait for each other, in order of arrival; others never wait.

    Args:
        max_pixels: Maximum pixels of large images at the same time; a single one may have more.
        limits: Limits on an image, with the size of large ones.
        max_waiting: Maximum number of waiting images.
        max_wait_s: Maximum wait, in seconds.
    """

    def __init__(
        self, max_pixels: int, limits: ImageLimits, *, max_waiting: float = math.inf, max_wait_s: float | None = None
    ) -> None:
        self._max_pixels = max_pixels
        self._limits = limits
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._pixels = 0
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def holding(self, images: Iterable[bytes]) -> AsyncIterator[None]:
        """Reserve the pixels of the largest of several image files, which are decoded one after the other.

        Raises:
            ServiceOverloadedError: It is large, and too many images are waiting, or it waited too long.
        """
        pixels = max((min(announced_pixels(image), self._limits.max_pixels) for image in images), default=0)
        if pixels <= self._limits.large_pixels:
            yield
            return
        await self._take(pixels)
        try:
            yield
        finally:
            self._pixels -= pixels
            self._released.set()

    async def _take(self, pixels: int) -> None:
        if self._waiting >= self._max_waiting and (self._turn.locked() or not self._has_room(pixels)):
            self._reject(f"{self._waiting} large images are waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s), self._turn:
                while not self._has_room(pixels):
                    self._released.clear()
                    await self._released.wait()
                self._pixels += pixels
        except TimeoutError:
            self._reject(f"a large image waited longer than {self._max_wait_s:g} s")
        finally:
            self._waiting -= 1

    def _has_room(self, pixels: int) -> bool:
        return not self._pixels or self._pixels + pixels <= self._max_pixels

    def _reject(self, reason: str) -> None:
        raise ServiceOverloadedError(
            f"{reason}; {self._pixels} pixels of large images are in progress, and the limit is {self._max_pixels}",
            retry_after_s=_RETRY_AFTER_S,
        )
