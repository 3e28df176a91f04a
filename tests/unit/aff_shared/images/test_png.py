from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from aff_shared.errors import ImageError, TruncatedImageError, UnsupportedImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.images import Pixels, encode, gradient, png_bytes

LIMITS = ImageLimits()
PHOTOGRAPH = gradient()
PNG = png_bytes()
BEHIND_HEADER = 33
BEFORE_END = -12


def _chunk(kind: bytes, body: bytes, *, right: bool = True) -> bytes:
    checksum = zlib.crc32(kind + body) ^ (0 if right else 1)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _with(chunk: bytes, place: int = BEHIND_HEADER, png: bytes = PNG) -> bytes:
    return png[:place] + chunk + png[place:]


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


def _shows_the_photograph(data: bytes) -> bool:
    return bool((_decoded(data) == PHOTOGRAPH).all())


LARGE = zlib.compress(b"a" * 2_000_000)


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"zTXt", b"workflow\0\0" + LARGE),
        _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
        _chunk(b"iCCP", b"scanner\0\0" + LARGE),
        _chunk(b"iCCP", b"scanner\0\7" + LARGE),
        _chunk(b"tEXt", b"parameters\0" + b"a, " * 700_000),
        b"".join(_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))) for _ in range(80)),
        _chunk(b"gAMA", b""),
        _chunk(b"cHRM", b"short"),
        _chunk(b"acTL", b""),
        _chunk(b"fcTL", bytes(26)),
        _chunk(b"tRNS", b""),
        _chunk(b"eXIf", b"junk"),
        _chunk(b"prVt", b"\xff" * 1000),
    ],
)
@pytest.mark.parametrize("place", [BEHIND_HEADER, BEFORE_END])
def test_damage_outside_the_pixels_does_not_prevent_decoding(chunk: bytes, place: int) -> None:
    assert _shows_the_photograph(_with(chunk, place))


@pytest.mark.parametrize(
    "kind", [b"pHYs", b"iTXt", b"tEXt", b"zTXt", b"iCCP", b"gAMA", b"tIME", b"eXIf", b"tRNS", b"acTL"]
)
def test_a_wrong_checksum_of_an_ancillary_chunk_leaves_the_chunk_out(kind: bytes) -> None:
    assert _shows_the_photograph(_with(_chunk(kind, bytes(9), right=False)))


def test_a_transparency_with_a_wrong_checksum_is_not_applied() -> None:
    red = encode(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG")
    colour = struct.pack(">HHH", 255, 0, 0)
    assert _decoded(_with(_chunk(b"tRNS", colour), png=red))[0, 0].tolist() == [255, 255, 255]
    assert _decoded(_with(_chunk(b"tRNS", colour, right=False), png=red))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_a_critical_chunk_is_damage(kind: bytes) -> None:
    png = encode(Image.fromarray(PHOTOGRAPH).quantize(16), "PNG")
    start = png.index(kind) - 4
    end = start + 12 + int.from_bytes(png[start : start + 4])
    damaged = png[: end - 1] + bytes((png[end - 1] ^ 1,)) + png[end:]
    with pytest.raises(TruncatedImageError, match=f"checksum of its {kind.decode()} chunk"):
        _decoded(damaged)


def test_the_checksum_of_the_empty_end_chunk_decides_nothing() -> None:
    assert _shows_the_photograph(PNG[:-1] + bytes((PNG[-1] ^ 1,)))


def test_one_changed_byte_of_the_pixels_is_found() -> None:
    place = PNG.index(b"IDAT") + 12
    with pytest.raises(ImageError):
        _decoded(PNG[:place] + bytes((PNG[place] ^ 1,)) + PNG[place + 1 :])


@pytest.mark.parametrize("tail", [b"\0\0", b"PK\x03\x04" + bytes(50_000), _chunk(b"IDAT", b"more"), b"\xff"])
def test_what_follows_the_end_is_not_read(tail: bytes) -> None:
    assert _shows_the_photograph(PNG + tail)


@pytest.mark.parametrize(
    "kept", [PNG[:BEFORE_END], PNG[:-2], PNG[:-16], PNG[:BEFORE_END] + _chunk(b"tEXt", bytes(99))[:-50]]
)
def test_pixels_that_are_all_there_need_no_end(kept: bytes) -> None:
    assert _shows_the_photograph(kept)


@pytest.mark.parametrize("kept", [8, 20, 33, 60, len(PNG) - 30])
def test_a_png_that_ends_before_its_pixels_do_is_cut(kept: int) -> None:
    with pytest.raises(TruncatedImageError):
        _decoded(PNG[:kept])


def test_a_critical_chunk_of_a_variant_is_named() -> None:
    with pytest.raises(UnsupportedImageError, match="CgBI"):  # Apple's, with pixels of another order
        _decoded(_with(_chunk(b"CgBI", bytes(4)), 8))


def test_more_chunks_than_any_program_writes_are_not_read() -> None:
    with pytest.raises(TruncatedImageError, match="50000 chunks"):
        _decoded(_with(_chunk(b"IDAT", b"") * 50_000))


def test_twelve_bits_of_sixteen_are_as_bright_as_all_of_them() -> None:
    levels = np.arange(16 * 16 * 3, dtype=np.uint16).reshape(16, 16, 3) % 256
    for bits in (16, 14, 12, 10):
        stored = levels << (bits - 8)
        for channels, mode in ((3, "RGB"), (4, "RGBA")):
            opaque = np.full((16, 16, 1), 0xFFFF if bits == 16 else 2**bits - 1, dtype=np.uint16)
            data = _png16(np.concatenate([stored, opaque], axis=2)[:, :, :channels])
            assert (_decoded(data) == levels).all(), (bits, mode)


def _png16(levels: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2 if levels.shape[2] == 3 else 6, 0, 0, 0)
    return PNG[:8] + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
