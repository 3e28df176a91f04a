from __future__ import annotations

import struct
from typing import Any

import pillow_heif
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from aff_shared.images.details import photograph_details
from tests.support.images import encode, gradient, png_bytes, png_file

pillow_heif.register_heif_opener()

_FORMATS = ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF"]
_GPS = {1: "N", 2: (46.0, 57.0, 3.9), 3: "E", 4: (7.0, 26.0, 47.4)}


def _exif(
    camera: dict[int, Any] | None = None, photograph: dict[int, Any] | None = None, gps: Any = None
) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in (camera or {}).items():
        exif[tag] = value
    if photograph:
        exif.get_ifd(ExifTags.IFD.Exif).update(photograph)
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    return exif


def _jpeg(*arguments: Any, **named: Any) -> bytes:
    return encode(gradient(), "JPEG", exif=_exif(*arguments, **named))


@pytest.mark.parametrize("image_format", _FORMATS)
def test_details_are_read_from_the_exif_of_each_format(image_format: str) -> None:
    exif = _exif({0x010F: "FUJIFILM", 0x0110: "X100V"}, {0x9003: "2024:05:01 10:11:12", 0x9011: "+02:00"}, gps=_GPS)
    assert photograph_details(encode(gradient(), image_format, exif=exif.tobytes()), "bern/2024/IMG_1.jpg") == {
        "file_name": "IMG_1.jpg",
        "folder": "bern/2024",
        "taken_at": "2024-05-01T10:11:12+02:00",
        "camera": "FUJIFILM X100V",
        "location": {"lat": 46.951083, "lon": 7.4465},  # 46 + 57/60 + 3.9/3600, 7 + 26/60 + 47.4/3600
    }


@pytest.mark.parametrize("image_format", [*_FORMATS, "GIF", "BMP"])
def test_of_an_image_without_exif_the_names_are_known(image_format: str) -> None:
    details = photograph_details(encode(gradient(), image_format), "a/b.png")
    assert details == {"file_name": "b.png", "folder": "a"}


@pytest.mark.parametrize("header", ["II", "MM"])
def test_exif_is_read_in_either_byte_order(header: str) -> None:
    exif = _exif({0x0110: "X100V"}, {0x9003: "2024:05:01 10:11:12"})
    exif.endian = "<" if header == "II" else ">"
    block = exif.tobytes()
    assert block[6:8].decode() == header
    assert photograph_details(encode(gradient(), "JPEG", exif=block)) == {
        "taken_at": "2024-05-01T10:11:12+00:00",
        "camera": "X100V",
    }


@pytest.mark.parametrize(
    ("item_id", "name", "expected"),
    [
        ("a/b/c.jpg", None, {"file_name": "c.jpg", "folder": "a/b"}),
        ("c.jpg", "other.jpg", {"file_name": "c.jpg"}),
        ("eiffel-1", "photos/IMG_1.jpg", {"file_name": "IMG_1.jpg"}),
        (None, "IMG_1.jpg", {"file_name": "IMG_1.jpg"}),
        ("a\\b\\c.jpg", None, {"file_name": "c.jpg", "folder": "a\\b"}),
        ("/data/c.jpg", None, {"file_name": "c.jpg", "folder": "/data"}),
        ("/c.jpg", None, {"file_name": "c.jpg"}),
        ("a/", None, {"folder": "a"}),
        ("eiffel-1", None, {}),
        (None, None, {}),
        (None, "IMG_\ud800.jpg", {"file_name": "IMG_?.jpg"}),
    ],
)
def test_file_name_and_folder_are_those_of_the_id_if_it_is_a_path(
    item_id: str | None, name: str | None, expected: dict[str, str]
) -> None:
    assert photograph_details(png_bytes(), item_id, name) == expected


@pytest.mark.parametrize(
    ("moment", "offset", "expected"),
    [
        ("2024:05:01 10:11:12", "-09:30", "2024-05-01T10:11:12-09:30"),
        ("2024-05-01 10:11:12", "+0200", "2024-05-01T10:11:12+02:00"),
        ("2024:05:01 10:11:12", "   :  ", "2024-05-01T10:11:12+00:00"),
        ("2024:05:01 10:11:12", "+99:00", "2024-05-01T10:11:12+00:00"),
        ("2024:05:01 10:11:12\0\0\0", "+02:00\0", "2024-05-01T10:11:12+02:00"),
        ("0000:00:00 00:00:00", "+02:00", None),
        ("    :  :     :  :  ", "", None),
        ("2024:13:01 10:11:12", "", None),
        ("2024:02:30 10:11:12", "", None),
        ("2024:05:01 25:11:12", "", None),
        ("0001:01:01 00:00:00", "", None),
        ("9999:12:31 23:59:59", "-14:00", None),
        ("2024", "", None),
        ("yesterday", "", None),
    ],
)
def test_the_moment_is_in_rfc_3339_or_left_out(moment: str, offset: str, expected: str | None) -> None:
    details = photograph_details(_jpeg({0x0110: "X"}, {0x9003: moment, 0x9011: offset}))
    assert details == {"camera": "X"} | ({"taken_at": expected} if expected else {})


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("samsung\0\0\0\0", "  SM-G991B \0x", "samsung SM-G991B"),
        ("Apple", "", "Apple"),
        ("", "X100V", "X100V"),
        ("Cam\x01\tera", "A\nB", "Cam era A B"),
        ("L" * 200, "M" * 200, "L" * 128),
        ("Möbius", "ä", "Möbius ä"),
        (b"M\xf6bius\0", "1", "Möbius 1"),  # Latin-1
        ("    ", "\0\0", None),
    ],
)
def test_the_camera_is_make_and_model_without_repetition_and_padding(
    make: str | bytes, model: str, expected: str | None
) -> None:
    encoded = make.encode() if isinstance(make, str) else make
    exif = _exif({0x010F: encoded, 0x0110: model.encode()})
    assert photograph_details(encode(gradient(), "JPEG", exif=exif)).get("camera") == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({1: "S", 3: "W"}, {"lat": -46.951083, "lon": -7.4465}),
        ({2: (46.5,), 4: (7.0, 30.0)}, {"lat": 46.5, "lon": 7.5}),
        ({2: (90.0, 0.0, 0.0), 4: (180.0, 0.0, 0.0)}, {"lat": 90, "lon": 180}),
        ({2: (91.0, 0.0, 0.0)}, None),
        ({2: (90.0, 0.0, 1.0)}, None),
        ({4: (181.0, 0.0, 0.0)}, None),
        ({2: (46.0, 61.0, 0.0)}, None),
        ({2: (46.0, 57.0, 61.0)}, None),
        ({2: (46.0, 57.0, 3.0, 1.0)}, None),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, None),
        ({2: (IFDRational(0, 0), 0.0, 0.0)}, None),
        ({2: (46.0, 57.0, IFDRational(1, 0))}, None),
        ({1: "X"}, None),
        ({1: ""}, None),
        ({3: "NE"}, None),
    ],
)
def test_a_position_is_in_degrees_or_left_out(changes: dict[int, Any], expected: dict[str, float] | None) -> None:
    assert photograph_details(_jpeg({0x0110: "X"}, gps=_GPS | changes)).get("location") == expected


def test_the_position_can_be_left_out() -> None:
    assert photograph_details(_jpeg({0x0110: "X"}, gps=_GPS), location=False) == {"camera": "X"}


def test_a_text_that_is_too_long_or_outside_the_block_is_left_out() -> None:
    def block(length: int, offset: int) -> bytes:
        entry = struct.pack("<HHII", 0x0110, 2, length, offset)
        return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4) + b"X100V" * 1000

    assert photograph_details(encode(gradient(), "JPEG", exif=block(5, 26))) == {"camera": "X100V"}
    for length, offset in [(5000, 26), (5, 5023), (2**32 - 1, 2**32 - 1)]:
        assert photograph_details(encode(gradient(), "JPEG", exif=block(length, offset))) == {}


def test_a_directory_that_points_to_itself_ends() -> None:
    entries = struct.pack("<HHIIHHII", 0x8769, 4, 1, 8, 0x8825, 4, 1, 8)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries
    assert photograph_details(encode(gradient(), "JPEG", exif=block)) == {}


def test_of_a_png_with_very_many_chunks_only_the_first_ones_are_read() -> None:
    block = _exif({0x0110: "X100V"}).tobytes()[6:]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))]
    assert photograph_details(png_file([*chunks, (b"eXIf", block)])) == {"camera": "X100V"}
    assert photograph_details(png_file([*chunks, *[(b"tEXt", b"")] * 5000, (b"eXIf", block)])) == {}
