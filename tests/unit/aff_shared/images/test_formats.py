from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aff_shared.errors import UnsupportedImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from aff_shared.images.formats import open_image
from tests.support.images import Pixels, encode, gradient

LIMITS = ImageLimits()


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_a_lossless_format_is_decoded_to_its_exact_pixels(image_format: str) -> None:
    assert _decoded(encode(gradient(), image_format)).tolist() == gradient().tolist()


def test_a_lossless_webp_is_decoded_to_its_exact_pixels() -> None:
    assert _decoded(encode(gradient(), "WEBP", lossless=True)).tolist() == gradient().tolist()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_a_lossy_format_is_decoded_to_nearly_its_pixels(image_format: str) -> None:
    difference = _decoded(encode(gradient(), image_format, quality=95)).astype(int) - gradient()
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_a_tiff_may_be_compressed(compression: str | None) -> None:
    assert _decoded(encode(gradient(), "TIFF", compression=compression)).tolist() == gradient().tolist()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_an_animation_the_first_frame_is_taken(image_format: str) -> None:
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    data = encode(red, image_format, save_all=True, append_images=[blue])
    assert np.abs(_decoded(data).astype(int) - [255, 0, 0]).max() <= 3


def test_a_heic_under_a_brand_that_avif_shares_is_still_read() -> None:
    data = encode(gradient(), "HEIF", quality=95)
    assert data[8:12] == b"heic"
    assert _decoded(data[:8] + b"mif1" + data[12:]).shape == (48, 64, 3)


@pytest.mark.parametrize("image_format", ["PPM", "ICO", "TGA", "SGI", "PCX", "JPEG2000", "EPS"])
def test_no_other_parser_of_pillow_is_reached(image_format: str) -> None:
    with pytest.raises(UnsupportedImageError):
        open_image(encode(gradient(), image_format))


def _bitmap(bits: int, *, header: int = 40, compression: int = 0, body: bytes = b"", alpha: int = 255) -> bytes:
    """A BMP of 16 x 16 pixels; from 108 bytes of header on, with masks of eight bits and alpha above."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) if header >= 108 else b""
    fields = struct.pack("<IiiHHIIiiII", header, 16, 16, 1, bits, compression, 0, 0, 0, 0, 0) + masks
    pixels = body or bytes((30, 20, 10, alpha)) * 256
    start = 14 + header
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + fields.ljust(header, b"\0") + pixels


@pytest.mark.parametrize("header", [108, 124])
def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(header: int) -> None:
    for alpha in (0, 255):
        assert (_decoded(_bitmap(32, header=header, compression=3, alpha=alpha)) == [10, 20, 30]).all()


def test_a_bmp_with_some_alpha_is_transparent_where_that_is_zero() -> None:
    rows = bytes((30, 20, 10, 0)) * 255 + bytes((30, 20, 10, 255))
    pixels = _decoded(_bitmap(32, header=108, compression=3, body=rows))
    assert pixels[0, 15].tolist() == [10, 20, 30]  # the last pixel of the top row, which a BMP has last
    assert (pixels[1:] == 255).all()


def test_a_transparent_png_stays_transparent() -> None:
    assert (_decoded(encode(Image.new("RGBA", (16, 16), (10, 20, 30, 0)), "PNG")) == 255).all()


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 2},
        {"bits": 64},
        {"bits": 0, "compression": 4},
        {"bits": 0, "compression": 5},
        {"bits": 32, "compression": 6},
        {"bits": 24, "compression": 4},
        {"bits": 32, "header": 66},
        {"bits": 16, "compression": 3, "header": 108},
    ],
)
def test_a_sound_bmp_that_cannot_be_read_is_unsupported(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedImageError, match="BMP"):
        _decoded(_bitmap(**options))
