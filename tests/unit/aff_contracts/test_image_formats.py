from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aff_contracts.errors import UnsupportedImageError
from aff_contracts.image_decoding import ImageLimits, decode_image
from aff_contracts.image_formats import open_image
from tests.support.images import Pixels, encode, gradient

LIMITS = ImageLimits()


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_a_lossless_format_gives_its_very_pixels(image_format: str) -> None:
    assert _decoded(encode(gradient(), image_format)).tolist() == gradient().tolist()


def test_a_lossless_webp_gives_its_very_pixels() -> None:
    assert _decoded(encode(gradient(), "WEBP", lossless=True)).tolist() == gradient().tolist()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_a_lossy_format_gives_nearly_its_pixels(image_format: str) -> None:
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
