from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.images import Pixels, encode, grey16_png, grey_alpha16_png, rgb16_png

LIMITS = ImageLimits()
SIDE = 16
HALF_RED_ON_WHITE = [255, 127, 127]  # alpha 128 of 255: 255 * 127 / 255 of the white is left


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


def _colour(data: bytes) -> list[int]:
    """The colour of a photograph that has only one."""
    pixels = _decoded(data)
    assert (pixels == pixels[0, 0]).all()
    return [int(level) for level in pixels[0, 0]]


def _plain(mode: str, colour: int | float | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (SIDE, SIDE), colour)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP", "TIFF", "GIF"])
def test_grey_is_the_same_in_every_channel(image_format: str) -> None:
    assert _colour(encode(_plain("L", 77), image_format)) == [77, 77, 77]


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(image_format: str) -> None:
    bits = np.indices((SIDE, SIDE)).sum(axis=0) % 2 == 1
    pixels = _decoded(encode(Image.fromarray(bits), image_format))
    assert pixels.tolist() == np.where(bits[:, :, np.newaxis], 255, 0).repeat(3, axis=2).tolist()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_is_decoded_to_its_colours(image_format: str) -> None:
    image = _plain("P", 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert _colour(encode(image, image_format)) == [10, 20, 30]


def test_a_transparent_palette_entry_is_white_and_a_half_transparent_one_half_white() -> None:
    image = _plain("P", 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 1)
    pixels = _decoded(encode(image, "PNG", transparency=bytes([0, 128])))
    assert pixels[0, 0].tolist() == HALF_RED_ON_WHITE
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_the_transparent_colour_of_a_gif_is_white() -> None:
    image = _plain("P", 0)
    image.putpalette([9, 9, 9, 255, 0, 0])
    image.putpixel((0, 0), 1)
    pixels = _decoded(encode(image, "GIF", transparency=0))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_the_transparent_colour_of_an_rgb_png_is_white() -> None:
    assert _colour(encode(_plain("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3))) == [255, 255, 255]


@pytest.mark.parametrize(
    ("image_format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})],
)
def test_alpha_is_composited_on_white(image_format: str, options: dict[str, bool]) -> None:
    assert _colour(encode(_plain("RGBA", (255, 0, 0, 128)), image_format, **options)) == HALF_RED_ON_WHITE
    assert _colour(encode(_plain("RGBA", (255, 0, 0, 0)), image_format, **options)) == [255, 255, 255]
    assert _colour(encode(_plain("RGBA", (255, 0, 0, 255)), image_format, **options)) == [255, 0, 0]


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_alpha_of_a_lossy_format_is_composited_on_white(image_format: str) -> None:
    colour = _decoded(encode(_plain("RGBA", (255, 0, 0, 128)), image_format, quality=100)).mean(axis=(0, 1))
    assert np.abs(colour - HALF_RED_ON_WHITE).max() <= 3


def test_grey_with_alpha_is_composited_on_white() -> None:
    assert _colour(encode(_plain("LA", (0, 128)), "PNG")) == [127, 127, 127]


def test_cmyk_ink_takes_its_light_away() -> None:
    # Full cyan and no other ink leaves green and blue; a quarter of black ink takes a quarter of each.
    assert _colour(encode(_plain("CMYK", (255, 0, 0, 0)), "TIFF")) == [0, 255, 255]
    assert _colour(encode(_plain("CMYK", (0, 0, 0, 64)), "TIFF")) == [191, 191, 191]


def test_an_inverted_adobe_cmyk_jpeg_is_not_a_negative() -> None:
    data = encode(_plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100)
    assert b"Adobe" in data
    assert np.abs(np.array(_colour(data)) - [0, 255, 255]).max() <= 2


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    levels = np.full((SIDE, SIDE), 0x8040, dtype=np.uint16)
    levels[0, 0], levels[0, 1] = 0xFFFF, 0x00FF
    for data in (grey16_png(levels), encode(Image.fromarray(levels), "TIFF")):
        pixels = _decoded(data)
        assert pixels[1, 1].tolist() == [0x80] * 3
        assert pixels[0, 0].tolist() == [255] * 3
        assert pixels[0, 1].tolist() == [0] * 3


def test_sixteen_bit_colour_keeps_its_upper_bits() -> None:
    levels = np.broadcast_to(np.array([0xFFFF, 0x8040, 0x00FF], dtype=np.uint16), (SIDE, SIDE, 3))
    assert _colour(rgb16_png(levels)) == [255, 0x80, 0]


@pytest.mark.parametrize(("highest", "half"), [(65535, 0x8000), (4095, 0x800), (255, 0x80)])
def test_sixteen_bit_grey_with_alpha_is_as_bright_as_without(highest: int, half: int) -> None:
    levels = np.full((SIDE, SIDE, 2), 65535, dtype=np.uint16)
    levels[:, :, 0] = half
    levels[0, 0, 0] = highest
    levels[0, 1, 1] = 0
    pixels = _decoded(grey_alpha16_png(levels))
    assert pixels[1, 1].tolist() == [0x80] * 3
    assert pixels[0, 0].tolist() == [255] * 3
    assert pixels[0, 1].tolist() == [255] * 3


def test_the_transparent_level_of_a_sixteen_bit_grey_png_is_white() -> None:
    levels = np.full((SIDE, SIDE), 0x8000, dtype=np.uint16)
    levels[0, 0] = 0x1234
    pixels = _decoded(grey16_png(levels, transparent=0x1234))
    assert pixels[0, 0].tolist() == [255] * 3
    assert pixels[1, 1].tolist() == [0x80] * 3


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_levels_without_an_agreed_range_are_stretched(dtype: type[np.float32] | type[np.int32]) -> None:
    levels = np.full((SIDE, SIDE), -1000, dtype=dtype)
    levels[0, :2] = 0, 4000
    pixels = _decoded(encode(Image.fromarray(levels), "TIFF"))
    assert pixels[1, 1].tolist() == [0] * 3
    assert pixels[0, 0].tolist() == [51] * 3  # a fifth of the way
    assert pixels[0, 1].tolist() == [255] * 3


@pytest.mark.parametrize(("level", "grey"), [(0.5, 128), (0.0, 0), (-3.0, 0)])
def test_a_float_image_of_one_level_is_grey_of_that_level(level: float, grey: int) -> None:
    assert _colour(encode(Image.fromarray(np.full((SIDE, SIDE), level, dtype=np.float32)), "TIFF")) == [grey] * 3


def test_levels_that_are_no_numbers_count_as_zero() -> None:
    levels = np.zeros((SIDE, SIDE), dtype=np.float32)
    levels[0, :4] = np.nan, np.inf, -np.inf, 1.0
    pixels = _decoded(encode(Image.fromarray(levels), "TIFF"))
    assert pixels[0, :4, 0].tolist() == [0, 0, 0, 255]
