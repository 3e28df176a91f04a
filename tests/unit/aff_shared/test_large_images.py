"""Images above `large_pixels`, here one pixel: the same photographs as by the way of ordinary ones, only smaller."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from aff_shared.errors import ImageTooManyPixelsError, InvalidCropError, TruncatedImageError
from aff_shared.images.decoding import Crop, DecodedImage, ImageLimits, decode_image
from aff_shared.images.size import announced_pixels
from tests.support.images import (
    Pixels,
    encode,
    gradient,
    grey16_png,
    grey_alpha16_png,
    png_bytes,
    png_file,
    quarters,
    rgb16_png,
)

pillow_heif.register_heif_opener()

ORDINARY = ImageLimits(large_pixels=10**9)
LARGE = ImageLimits(large_pixels=1)


def _large(data: bytes, min_side: int | None = None, crop: Crop | None = None) -> DecodedImage:
    return decode_image(data, LARGE, min_side=min_side, crop=crop)


def _noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _interlaced(pixels: Pixels) -> bytes:
    """Adam7 with filter 0, from its definition."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx]]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return png_file([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


def _palette() -> Image.Image:
    return Image.fromarray(gradient(48, 32)).quantize(16)


def _float_tiff() -> bytes:
    return encode(Image.fromarray(np.linspace(0, 1, 48 * 32, dtype=np.float32).reshape(32, 48)), "TIFF")


FILES = {
    "RGB PNG": png_bytes(gradient(48, 32)),
    "RGBA PNG": encode(Image.fromarray(_noise(32, 48, 4)), "PNG"),
    "grey PNG with alpha": encode(Image.fromarray(_noise(32, 48, 4)).convert("LA"), "PNG"),
    "palette PNG": encode(_palette(), "PNG", transparency=3),
    "PNG with a transparent colour": encode(gradient(48, 32), "PNG", transparency=(0, 0, 128)),
    "one bit PNG": encode(Image.fromarray(_noise(32, 48) > 127), "PNG"),
    "interlaced PNG": _interlaced(gradient(48, 32)),
    "16-bit grey PNG": grey16_png(np.arange(48 * 32, dtype=np.uint16).reshape(32, 48) * 40),
    "16-bit PNG with a transparent level": grey16_png(
        np.arange(48 * 32, dtype=np.uint16).reshape(32, 48), transparent=7
    ),
    "12 bits in a PNG": rgb16_png(_noise(32, 48, 3).astype(np.uint16) * 16),
    "16-bit grey PNG with alpha": grey_alpha16_png(_noise(32, 48, 2).astype(np.uint16) * 257),
    "JPEG": encode(gradient(48, 32), "JPEG"),
    "progressive JPEG": encode(gradient(48, 32), "JPEG", progressive=True),
    "CMYK JPEG": encode(Image.fromarray(gradient(48, 32)).convert("CMYK"), "JPEG"),
    "lossy WebP": encode(gradient(48, 32), "WEBP"),
    "lossless WebP": encode(Image.fromarray(_noise(32, 48, 4)), "WEBP", lossless=True, exact=True),
    "GIF": encode(_palette(), "GIF"),
    "BMP": encode(gradient(48, 32), "BMP"),
    "AVIF": encode(gradient(48, 32), "AVIF"),
    "HEIC": encode(gradient(64, 64), "HEIF"),
    "HEIC with alpha": encode(Image.fromarray(_noise(64, 64, 4)), "HEIF"),
    "TIFF": encode(gradient(48, 32), "TIFF"),
    "TIFF by LZW": encode(gradient(48, 32), "TIFF", compression="tiff_lzw"),
    "TIFF by JPEG": encode(gradient(48, 32), "TIFF", compression="jpeg"),
    "TIFF with alpha": encode(Image.fromarray(_noise(32, 48, 4)), "TIFF", compression="tiff_adobe_deflate"),
    "CMYK TIFF": encode(Image.fromarray(gradient(48, 32)).convert("CMYK"), "TIFF"),
    "float TIFF": _float_tiff(),
}


@pytest.mark.parametrize("name", FILES)
def test_without_reduction_the_pixels_are_those_of_an_ordinary_image(name: str) -> None:
    large, ordinary = _large(FILES[name]), decode_image(FILES[name], ORDINARY)
    assert (large.width, large.height) == (ordinary.width, ordinary.height)
    assert np.abs(large.pixels.astype(int) - ordinary.pixels).max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_a_large_image_is_reduced_to_the_mean_of_squares(name: str) -> None:
    ordinary = decode_image(FILES[name], ORDINARY).pixels.astype(float)
    height, width = ordinary.shape[:2]
    factor = 2
    expected = ordinary.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3))
    reduced = _large(FILES[name], min_side=min(height, width) // (2 * factor))
    assert reduced.pixels.shape == expected.shape
    assert np.abs(reduced.pixels - expected).max() <= {"lossy WebP": 10}.get(name, 4 if "JPEG" in name else 1)
    assert (reduced.width, reduced.height) == (width, height)


@pytest.mark.parametrize("name", FILES)
def test_the_size_that_is_announced_is_that_of_the_image(name: str) -> None:
    decoded = decode_image(FILES[name], ORDINARY)
    assert announced_pixels(FILES[name]) == decoded.width * decoded.height


def test_a_heic_that_names_no_brand_but_its_own_announces_its_size_too() -> None:
    heic = FILES["HEIC"]
    assert b"mif1" in heic[:28]
    assert announced_pixels(heic.replace(b"mif1", b"heic", 1).replace(b"miaf", b"heic", 1)) == 64 * 64


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBPVP8L", b"II*\0", b"text"]
)
def test_what_announces_no_size_has_none(data: bytes) -> None:
    assert announced_pixels(data) == 0


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_a_crop_is_of_the_upright_photograph(image_format: str, orientation: int) -> None:
    photograph = quarters(64)
    photograph[:8, :8] = 0
    data = encode(photograph[:, :48], image_format, exif=_exif(orientation), lossless=True)
    width, height = (48, 64) if orientation < 5 else (64, 48)
    for crop in (None, Crop(0, 0, 16, 16), Crop(width - 24, height - 32, width - 8, height)):
        expected = decode_image(data, ORDINARY, crop=crop)
        decoded = _large(data, crop=crop)
        assert (decoded.width, decoded.height) == (width, height)
        assert np.array_equal(decoded.pixels, expected.pixels)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _heic_that_shows(width: int, height: int) -> bytes:
    """The HEIC of 64 x 64 pixels with a clean aperture, of which nothing but the middle is shown.

    Its metadata are rewritten at the end, so that the offsets in them remain valid.
    """
    heic = FILES["HEIC"]
    meta, properties, associations = (heic.index(kind) - 4 for kind in (b"meta", b"ipco", b"ipma"))
    end = associations + int.from_bytes(heic[associations : associations + 4])
    count = 0
    place = properties + 8
    while place < associations:
        count, place = count + 1, place + int.from_bytes(heic[place : place + 4])
    aperture = _box(b"clap", struct.pack(">8I", width, 1, height, 1, 0, 1, 0, 1))
    *_, entries, length = struct.unpack(">IIHB", heic[associations + 8 : associations + 19])
    assert entries == 1
    listed = heic[associations + 12 : associations + 18] + bytes([length + 1])
    listed += heic[associations + 19 : end] + bytes([0x80 | count + 1])
    inside = _box(b"ipco", heic[properties + 8 : associations] + aperture)
    inside += _box(b"ipma", heic[associations + 8 : associations + 12] + listed)
    meta_end = meta + int.from_bytes(heic[meta : meta + 4])
    before = heic[meta + 8 : heic.index(b"iprp") - 4]
    return (
        heic[: meta + 4]
        + b"free"
        + heic[meta + 8 :]
        + _box(b"meta", before + _box(b"iprp", inside) + heic[end:meta_end])
    )


def test_limits_count_the_pixels_that_a_heic_has_and_not_those_that_it_shows() -> None:
    cut = _heic_that_shows(16, 16)
    assert decode_image(cut, ORDINARY).pixels.shape == (16, 16, 3)
    assert np.array_equal(_large(cut).pixels, decode_image(cut, ORDINARY).pixels)
    with pytest.raises(ImageTooManyPixelsError, match="4096 pixels are decoded of it"):
        decode_image(cut, ImageLimits(max_pixels=64 * 64 - 1))
    with pytest.raises(ImageTooManyPixelsError, match="max_decoder_bytes"):
        decode_image(cut, ImageLimits(large_pixels=1000, max_decoder_bytes=64 * 64))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("far", [49, 1e6, 1e200])
def test_a_crop_that_is_not_inside_the_photograph_is_rejected_however_far_it_reaches(
    image_format: str, far: float
) -> None:
    with pytest.raises(InvalidCropError, match="is not inside the photograph of 48 x 32 pixels"):
        _large(encode(gradient(48, 32), image_format), min_side=8, crop=Crop(0, 0, far, far))


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")  # of Pillow
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "JPEG", "GIF", "BMP", "AVIF", "HEIF"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("crop", [None, Crop(0, 0, 8, 8)])
def test_a_truncated_file_is_rejected_wherever_it_is_cut(image_format: str, kept: float, crop: Crop | None) -> None:
    options = {"compression": "tiff_adobe_deflate"} if image_format == "TIFF" else {}
    data = encode(_noise(64, 64, 3), image_format, **options)
    with pytest.raises(TruncatedImageError):
        _large(data[: int(len(data) * kept)], min_side=8, crop=crop)


def test_images_decoded_as_a_whole_have_a_separate_limit() -> None:
    limits = ImageLimits(large_pixels=1, max_decoder_bytes=48 * 32 * 4 - 1)
    decode_image(FILES["RGB PNG"], limits)
    with pytest.raises(ImageTooManyPixelsError, match=r"48 x 32 pixels of a PNG.*max_decoder_bytes"):
        decode_image(FILES["interlaced PNG"], limits)


def test_a_jpeg_without_memory_for_its_pixels_is_reduced_while_it_is_decoded() -> None:
    limits = ImageLimits(large_pixels=1, max_decoder_bytes=48 * 32 * 4 - 1)
    assert decode_image(FILES["JPEG"], limits, crop=Crop(0, 0, 16, 16)).pixels.shape == (8, 8, 3)
    with pytest.raises(ImageTooManyPixelsError, match="JPEG with several scans"):
        decode_image(FILES["progressive JPEG"], ImageLimits(large_pixels=1, max_decoder_bytes=1000))
