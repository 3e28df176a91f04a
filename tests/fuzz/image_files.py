"""Small valid images of every format, and headers that promise more than there is."""

from __future__ import annotations

import struct
import zlib
from random import Random

import pillow_heif
from PIL import Image

from tests.support.images import encode, gradient, grey16_png, jpeg_bytes, rgb16_png

_SIDES = (0, 1, 7, 8, 999, 1000, 1001, 0x7FFF, 0xFFFF)


def image_files() -> dict[str, list[bytes]]:
    """Return images by format."""
    pillow_heif.register_heif_opener()
    pixels = gradient(40, 30)
    picture = Image.fromarray(pixels)
    palette, grey = picture.convert("P"), picture.convert("L")
    first, second = Image.fromarray(pixels), Image.fromarray(pixels)  # Pillow keeps a JPEG's options in a picture
    frames = {"save_all": True, "append_images": [picture.rotate(90), picture.rotate(180)]}
    return {
        "JPEG": [
            jpeg_bytes(pixels, orientation=6),
            encode(picture, "JPEG", progressive=True, restart_marker_blocks=2),
            encode(grey, "JPEG"),
            encode(picture.convert("CMYK"), "JPEG"),
        ],
        "MPO": [encode(picture, "MPO", **frames)],
        "PNG": [
            encode(picture, "PNG"),
            encode(palette, "PNG", transparency=bytes(range(256))),
            encode(picture.convert("RGBA"), "PNG", dpi=(72, 72)),
            encode(picture.convert("1"), "PNG"),
            encode(picture, "PNG", **frames),
            grey16_png(pixels[:, :, 0].astype("uint16") << 8),
            rgb16_png(pixels.astype("uint16") << 8),
        ],
        "WEBP": [
            encode(picture, "WEBP"),
            encode(picture.convert("RGBA"), "WEBP", lossless=True),
            encode(picture, "WEBP", **frames),
        ],
        "AVIF": [encode(picture, "AVIF"), encode(picture.convert("RGBA"), "AVIF")],
        "HEIF": [encode(picture, "HEIF"), encode(picture.convert("RGBA"), "HEIF")],
        "GIF": [encode(palette, "GIF", transparency=3), encode(palette, "GIF", **frames), encode(grey, "GIF")],
        "BMP": [encode(picture, "BMP"), encode(palette, "BMP"), encode(picture.convert("1"), "BMP")],
        "TIFF": [
            encode(picture, "TIFF"),
            encode(picture, "TIFF", compression="tiff_lzw"),
            encode(picture, "TIFF", compression="tiff_adobe_deflate"),
            encode(picture, "TIFF", compression="jpeg"),
            encode(picture.convert("1"), "TIFF", compression="group4"),
            encode(picture.convert("F"), "TIFF"),
            encode(picture.convert("I;16"), "TIFF", big_tiff=True),
            encode(first, "TIFF", save_all=True, append_images=[second]),
        ],
    }


def with_absurd_size(rng: Random, data: bytes) -> bytes:
    """Return an image whose width or height, wherever it stands, is another one."""
    sides, size, order = (40, 30), rng.choice((2, 4)), rng.choice(("big", "little"))
    side = rng.choice(sides)
    # WebP and AV1 keep the side less one; the former in 14 or 24 bits.
    for written in (side, side - 1):
        places = _places(data, written.to_bytes(size, order))
        if places:
            place = rng.choice(places)
            return data[:place] + rng.choice(_SIDES).to_bytes(size, order) + data[place + size :]
    return data


def with_right_checksums(data: bytes) -> bytes:
    """Return a damaged PNG whose chunks have the checksums of their present content; otherwise nothing is read."""
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        checked = data[place + 4 : end]
        parts += [data[place : place + 4], checked, struct.pack(">I", zlib.crc32(checked))]
        place = end + 4
    return b"".join(parts)


def _places(data: bytes, part: bytes) -> list[int]:
    places, place = [], data.find(part)
    while place >= 0:
        places.append(place)
        place = data.find(part, place + 1)
    return places
