"""TIFFs of several images and of kinds that Pillow does not write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SUB_DIRECTORIES = 330


@dataclass(frozen=True)
class TiffImage:
    """An image of a TIFF.

    Attributes:
        levels: (height, width) or (height, width, channels), of the type in which they are stored.
        tags: Further tags, or others than follow from the levels; each a number of 32 bits.
        below: Images in sub-directories.
    """

    levels: NDArray[np.generic]
    tags: dict[int, int] = field(default_factory=dict)
    below: Sequence[TiffImage] = ()


def tiff_file(*images: TiffImage, big: bool = False) -> bytes:
    """A little-endian TIFF, or BigTIFF, of these images without compression."""
    data = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    last = 8 if big else 4
    for image in images:
        offset, following = _append(data, image, big)
        struct.pack_into("<Q" if big else "<I", data, last, offset)
        last = following
    return bytes(data)


def _append(data: bytearray, image: TiffImage, big: bool) -> tuple[int, int]:
    """Append an image; return where its directory is, and where the offset of the next one has to be written."""
    below = [_append(data, one, big)[0] for one in image.below]
    strip = len(data)
    data += image.levels.tobytes()
    directories = len(data)
    data += struct.pack(f"<{len(below)}{'Q' if big else 'I'}", *below)
    height, width = image.levels.shape[:2]
    channels = image.levels.shape[2] if image.levels.ndim == 3 else 1
    depth = 8 * image.levels.itemsize
    written_depths = struct.pack("<4H", *[depth] * 4)
    depths = int.from_bytes(written_depths[: 2 * channels], "little") if big else len(data)
    data += written_depths
    values = {
        **{256: (1, width), 257: (1, height), 258: (channels, depths if channels > 2 else depth), 259: (1, 1)},
        **{262: (1, 2 if channels > 2 else 1), 273: (1, strip), 277: (1, channels), 278: (1, height)},
        **{279: (1, image.levels.nbytes), 339: (1, {"u": 1, "i": 2, "f": 3}[image.levels.dtype.kind])},
        **({338: (1, 2)} if channels == 4 else {}),
        **{tag: (1, value) for tag, value in image.tags.items()},
    }
    if below:
        values[_SUB_DIRECTORIES] = (len(below), directories if len(below) > 1 else below[0])
    offset = len(data)
    data += struct.pack("<Q" if big else "<H", len(values))
    for tag, (count, value) in sorted(values.items()):
        kind = 3 if tag == 258 else 16 if big and tag == _SUB_DIRECTORIES else 4
        data += struct.pack("<HHQQ" if big else "<HHII", tag, kind, count, value)
    data += bytes(8 if big else 4)
    return offset, len(data) - (8 if big else 4)
