from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from aff_shared.errors import (
    EmptyImageError,
    ImageError,
    ImageTooManyBytesError,
    ImageTooManyPixelsError,
    ImageTooSmallError,
    InvalidCropError,
    TruncatedImageError,
    UnsupportedImageError,
)
from aff_shared.images.decoding import Crop, ImageLimits, decode_image
from tests.support.images import Pixels, bomb_png, encode, gradient, jpeg_bytes, png_bytes, quarters

LIMITS = ImageLimits()
NAMES = {(255, 0, 0): "R", (0, 255, 0): "G", (0, 0, 255): "B", (255, 255, 255): "W"}


def _corners(pixels: Pixels) -> str:
    """The colours of the four quarters, as in "RG/BW"."""
    height, width = pixels.shape[:2]
    rows = [
        "".join(NAMES[tuple(int(level > 127) * 255 for level in pixels[y, x])] for x in (4, width - 5))
        for y in (4, height - 5)
    ]
    return "/".join(rows)


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


UPRIGHT = {1: "RG/BW", 2: "GR/WB", 3: "WB/GR", 4: "BW/RG", 5: "RB/GW", 6: "BR/WG", 7: "WG/BR", 8: "GW/RB"}


@pytest.mark.parametrize(("orientation", "corners"), UPRIGHT.items())
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_turned_upright(image_format: str, orientation: int, corners: str) -> None:
    data = encode(quarters(), image_format, exif=_exif(orientation))
    assert _corners(decode_image(data, LIMITS).pixels) == corners


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
@pytest.mark.parametrize(("orientation", "corners"), UPRIGHT.items())
def test_a_format_that_rotates_by_itself_is_not_rotated_twice(
    image_format: str, orientation: int, corners: str
) -> None:
    data = encode(quarters(64), image_format, quality=95, exif=_exif(orientation))
    assert _corners(decode_image(data, LIMITS).pixels) == corners


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_upright(orientation: int) -> None:
    assert _corners(decode_image(jpeg_bytes(quarters(), orientation=orientation), LIMITS).pixels) == "RG/BW"


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")  # of Pillow
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"MM\x00\x2a\xff\xff\xff\xffjunk", b"junk", b"II\x2a\x00\x08\x00\x00\x00\x01\x00\x12"]
)
def test_damaged_metadata_does_not_cost_the_photograph(image_format: str, exif: bytes) -> None:
    data = encode(quarters(), image_format, exif=b"Exif\x00\x00" + exif)
    assert _corners(decode_image(data, LIMITS).pixels) == "RG/BW"


def _xmp(orientation: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
    ) % orientation


def _png_text(kind: str, text: bytes) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(kind, text)
    return chunks


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("JPEG", {"xmp": _xmp(6)}),
        ("JPEG", {"xmp": _xmp(6), "exif": _exif(1)}),
        ("PNG", {"pnginfo": _png_text("XML:com.adobe.xmp", _xmp(6))}),
        ("PNG", {"pnginfo": _png_text("Raw profile type exif", b"\nexif\n 26\n" + _exif(6).hex().encode())}),
        ("WEBP", {"xmp": _xmp(6), "lossless": True}),
        ("AVIF", {"xmp": _xmp(6), "quality": 95}),
        ("TIFF", {"tiffinfo": {700: _xmp(6)}}),
    ],
)
def test_an_orientation_outside_of_exif_counts_as_little_as_in_a_browser(
    image_format: str, options: dict[str, Any]
) -> None:
    decoded = decode_image(encode(quarters(64), image_format, **options), LIMITS)
    assert _corners(decoded.pixels) == "RG/BW"


def test_an_orientation_in_the_xmp_of_a_heic_counts_as_little() -> None:
    data = encode(quarters(64), "HEIF", xmp=_xmp(1), quality=95)  # of another one, the encoder would turn the picture
    turned = data.replace(b'Orientation="1"', b'Orientation="6"')
    assert turned != data
    assert _corners(decode_image(turned, LIMITS).pixels) == "RG/BW"


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_exif_counts_whatever_xmp_claims(image_format: str) -> None:
    data = encode(quarters(), image_format, exif=_exif(6), xmp=_xmp(1))
    assert _corners(decode_image(data, LIMITS).pixels) == UPRIGHT[6]


def test_the_measures_are_those_of_the_upright_photograph_as_it_was_encoded() -> None:
    decoded = decode_image(jpeg_bytes(gradient(640, 480), orientation=6), LIMITS, min_side=16)
    assert (decoded.width, decoded.height) == (480, 640)
    assert decoded.pixels.shape == (80, 60, 3)


@pytest.mark.parametrize(
    ("min_side", "shape"),
    [
        (None, (400, 800, 3)),
        (101, (400, 800, 3)),  # a half would leave 200, less than 2 x 101
        (100, (200, 400, 3)),
        (50, (100, 200, 3)),
        (26, (100, 200, 3)),
        (25, (50, 100, 3)),
        (8, (50, 100, 3)),
    ],
)
def test_a_large_jpeg_is_reduced_but_keeps_twice_the_side_that_is_needed(
    min_side: int | None, shape: tuple[int, int, int]
) -> None:
    assert decode_image(jpeg_bytes(gradient(800, 400)), LIMITS, min_side=min_side).pixels.shape == shape


def test_a_reduced_jpeg_shows_the_same_photograph() -> None:
    reduced = decode_image(jpeg_bytes(gradient(800, 400)), LIMITS, min_side=25).pixels
    expected = gradient(800, 400).reshape(50, 8, 100, 8, 3).mean(axis=(1, 3))
    assert np.abs(reduced - expected).max() <= 3


def test_the_reduction_heeds_the_shorter_side_of_the_crop() -> None:
    data = jpeg_bytes(gradient(800, 400))
    crop = Crop(400, 200, 600, 300)
    assert decode_image(data, LIMITS, min_side=25, crop=crop).pixels.shape == (50, 100, 3)  # at a half
    assert decode_image(data, LIMITS, min_side=26, crop=crop).pixels.shape == (100, 200, 3)


def test_a_format_without_reduction_is_decoded_whole() -> None:
    assert decode_image(png_bytes(gradient(800, 400)), LIMITS, min_side=8).pixels.shape == (400, 800, 3)


def test_a_crop_takes_the_pixels_of_its_region() -> None:
    photograph = gradient(64, 48)
    decoded = decode_image(png_bytes(photograph), LIMITS, crop=Crop.parse("10,20,30,45"))
    assert decoded.pixels.tolist() == photograph[20:45, 10:30].tolist()
    assert (decoded.width, decoded.height) == (64, 48)


def test_a_crop_between_pixels_takes_every_pixel_that_it_touches() -> None:
    photograph = gradient(64, 48)
    decoded = decode_image(png_bytes(photograph), LIMITS, crop=Crop.parse("10.6, 20.2, 29.1, 44.9"))
    assert decoded.pixels.tolist() == photograph[20:45, 10:30].tolist()


def test_a_crop_is_of_the_upright_photograph() -> None:
    decoded = decode_image(jpeg_bytes(quarters(), orientation=6), LIMITS, crop=Crop(16, 0, 32, 16))
    assert _corners(decoded.pixels) == "RR/RR"  # the upright photograph is BR/WG


def test_a_crop_of_a_reduced_jpeg_is_scaled_with_it() -> None:
    decoded = decode_image(jpeg_bytes(quarters(320)), LIMITS, min_side=20, crop=Crop(160, 160, 320, 320))
    assert decoded.pixels.shape == (40, 40, 3)
    assert _corners(decoded.pixels) == "WW/WW"


def test_a_crop_of_everything_in_a_reduced_jpeg_adds_no_black_edge() -> None:
    white = np.full((339, 339, 3), 255, dtype=np.uint8)  # 339 * (43 / 339) is a little more than 43
    decoded = decode_image(jpeg_bytes(white), LIMITS, min_side=20, crop=Crop(0, 0, 339, 339))
    assert decoded.pixels.shape == (43, 43, 3)
    assert decoded.pixels.min() == 255


def test_a_crop_far_larger_than_a_jpeg_is_rejected_like_any_other() -> None:
    with pytest.raises(InvalidCropError):
        decode_image(jpeg_bytes(), LIMITS, min_side=16, crop=Crop(0, 0, 1e300, 1e300))


@pytest.mark.parametrize("crop", ["0,0,65,48", "0,0,64,48.5", "60,10,70,20", "100,100,120,120"])
def test_a_crop_that_leaves_the_photograph_is_rejected_with_its_size(crop: str) -> None:
    with pytest.raises(InvalidCropError, match="64 x 48 pixels") as caught:
        decode_image(png_bytes(), LIMITS, crop=Crop.parse(crop), name="a.png")
    assert caught.value.item == "crop"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1;2;3;4", "0,0,nan,9", "0,0,inf,9", "-1,0,9,9", "0,-1,9,9"),
        *("9,0,1,9", "0,9,9,1", "5,5,5,9", "5,5,5.9,9"),
    ],
)
def test_what_is_no_region_is_no_crop(text: str) -> None:
    with pytest.raises(InvalidCropError) as caught:
        Crop.parse(text)
    assert caught.value.item == "crop"


def _rejection(data: bytes, limits: ImageLimits = LIMITS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data, limits, name="a.jpg")
    assert caught.value.item == "a.jpg"
    return caught.value


def test_an_empty_file_is_rejected() -> None:
    assert isinstance(_rejection(b""), EmptyImageError)


@pytest.mark.parametrize("data", [b"a text named .jpg", b"%!PS-Adobe-3.0", b"8BPS\0\1", b"P6 1 1 255 abc", b"\0" * 64])
def test_what_is_not_of_a_supported_format_is_rejected(data: bytes) -> None:
    assert isinstance(_rejection(data), UnsupportedImageError)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.6])
def test_a_truncated_file_is_rejected(image_format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, image_format)
    assert isinstance(_rejection(data[: int(len(data) * kept)]), TruncatedImageError)


def test_a_bomb_is_rejected_by_its_pixels_before_they_are_decoded() -> None:
    error = _rejection(bomb_png(20_000, 20_000))
    assert isinstance(error, ImageTooManyPixelsError)
    assert "20000 x 20000 pixels" in error.detail


@pytest.mark.parametrize("size", [(31_000, 10), (10, 31_000)])
def test_a_side_over_the_limit_is_rejected(size: tuple[int, int]) -> None:
    assert isinstance(_rejection(bomb_png(*size)), ImageTooManyPixelsError)


def test_a_size_that_pillow_itself_rejects_is_rejected_alike() -> None:
    # Pillow checks a WebP's size against its own limit, 178,956,970 pixels, when it opens the file.
    canvas = (16_383).to_bytes(3, "little") + (16_383).to_bytes(3, "little")
    chunk = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + canvas
    data = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
    assert isinstance(_rejection(data, ImageLimits(max_pixels=10**9)), ImageTooManyPixelsError)


def test_a_size_between_the_limit_and_pillows_own_warning_is_taken_quietly() -> None:
    decoded = decode_image(bomb_png(30_000, 3_000), LIMITS, crop=Crop(0, 0, 8, 8))
    assert decoded.width * decoded.height == 90_000_000


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_an_image_without_substance_is_rejected(size: tuple[int, int]) -> None:
    assert isinstance(_rejection(png_bytes(gradient(*size))), ImageTooSmallError)


def test_a_file_over_the_limit_in_bytes_is_rejected() -> None:
    data = png_bytes()
    assert isinstance(_rejection(data, ImageLimits(max_image_bytes=len(data) - 1)), ImageTooManyBytesError)
    decode_image(data, ImageLimits(max_image_bytes=len(data)))


def test_images_are_decoded_side_by_side_in_threads() -> None:
    files = [encode(gradient(), image_format) for image_format in ("PNG", "JPEG", "HEIF", "AVIF") * 4]
    with ThreadPoolExecutor(4) as pool:
        shapes = {decoded.pixels.shape for decoded in pool.map(lambda data: decode_image(data, LIMITS), files)}
    assert shapes == {(48, 64, 3)}
