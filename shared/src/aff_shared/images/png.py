"""PNG files: only the chunks that determine the pixels are read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from aff_shared.errors import TruncatedImageError, UnsupportedImageError

_SIGNATURE_BYTES, _WORD = 8, 4
_MOST_CHUNKS = 50_000
_ANCILLARY = 0x20  # bit of a chunk type's first byte: a decoder may pass over the chunk
_DECIDING = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_EXIF, _TRANSPARENCY, _END = b"eXIf", b"tRNS", b"IEND"
_END_CHUNK = memoryview(b"\0\0\0\0" + _END + zlib.crc32(_END).to_bytes(_WORD))
# Bytes of tRNS by colour type (grey, RGB, palette); the other types have an alpha channel.
_TRANSPARENCY_BYTES = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int  # beyond the file where that ends too early


def open_png(data: bytes) -> ImageFile:
    """Read the header of a PNG.

    Pillow reads the chunks that determine the pixels, and the EXIF; text, profiles and the rest are not unpacked. Of an
    animation that is the default image. An ancillary chunk with a wrong checksum is left out, as libpng does it.

    Raises:
        TruncatedImageError: A critical chunk has a wrong checksum, the file ends before its pixels, or has more chunks
            than are read.
        UnsupportedImageError: It has a critical chunk that is not in the PNG specification.
    """
    parts = memoryview(data)
    kept = [parts[:_SIGNATURE_BYTES]]
    seen: set[bytes] = set()
    for chunk in _chunks(data):
        if chunk.kind[0] & _ANCILLARY:
            if chunk.kind in seen or not _is_wanted(data, chunk):
                continue
        elif chunk.kind == _END:  # without content, so its checksum decides nothing
            kept.append(_END_CHUNK)
            break
        else:
            _check_critical(data, chunk)
        seen.add(chunk.kind)
        kept.append(parts[chunk.start : chunk.end])
    if b"IDAT" not in seen:
        raise TruncatedImageError("it ends before its pixels")
    return PngImageFile(BytesIO(b"".join(kept)), "")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    start = _SIGNATURE_BYTES
    for _ in range(_MOST_CHUNKS):
        kind = data[start + 4 : start + 8]
        if len(kind) < _WORD or not kind.isalpha():
            return
        end = start + 12 + int.from_bytes(data[start : start + 4])
        yield _Chunk(kind, start, end)
        start = end
    raise TruncatedImageError(f"it has more than {_MOST_CHUNKS} chunks")


def _is_wanted(data: bytes, chunk: _Chunk) -> bool:
    if chunk.kind == _TRANSPARENCY:
        colour_type = data[_SIGNATURE_BYTES + 17 : _SIGNATURE_BYTES + 18]
        fitting = _TRANSPARENCY_BYTES.get(colour_type[0], range(0)) if colour_type else range(0)
        return chunk.end - chunk.start - 12 in fitting and _has_right_checksum(data, chunk)
    return chunk.kind == _EXIF and _has_right_checksum(data, chunk)


def _check_critical(data: bytes, chunk: _Chunk) -> None:
    # What ends before its checksum is left to the decoder: the pixels may all be there.
    if chunk.end <= len(data) and not _has_right_checksum(data, chunk):
        raise TruncatedImageError(f"the checksum of its {chunk.kind.decode('ascii')} chunk is wrong")
    if chunk.kind not in _DECIDING:
        raise UnsupportedImageError(f"a PNG with a {chunk.kind.decode('ascii')} chunk, which cannot be read")


def _has_right_checksum(data: bytes, chunk: _Chunk) -> bool:
    checked = memoryview(data)[chunk.start + _WORD : chunk.end - _WORD]
    return data[chunk.end - _WORD : chunk.end] == zlib.crc32(checked).to_bytes(_WORD)
