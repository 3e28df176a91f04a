from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from aff_contracts.errors import ImageTooManyPixelsError, TruncatedImageError
from aff_contracts.image_decoding import ImageLimits, decode_image
from aff_contracts.image_formats import open_image
from tests.support.images import Pixels, encode, gradient

LIMITS = ImageLimits()
ISPE, PIXI, AV1C, AUXC, IROT, NOT_SAID = 1, 6, 0x87, 8, 0x85, 0


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


def _avif(*, exif: bytes = b"") -> bytes:
    photograph = Image.fromarray(gradient()).convert("RGBA")
    photograph.paste((0, 0, 0, 0), (0, 0, 32, 24))
    return encode(photograph, "AVIF", quality=90, exif=exif)


def _exif(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    return exif.tobytes()


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    assert len(old) == len(new)
    return data.replace(old, new)


def _refused_by_libavif(data: bytes) -> bytes:
    """The same data, which Pillow by itself does not open."""
    with pytest.raises((SyntaxError, ValueError, RuntimeError)):
        AvifImagePlugin.AvifImageFile(BytesIO(data))
    return data


TURNED = _avif(exif=_exif(6))  # in the container: a rotation
# The association of item 2, the alpha plane, with its five properties.
ALPHA = bytes((0, 2, 5, ISPE, PIXI, AV1C, AUXC, IROT))


def test_an_alpha_plane_without_a_size_has_that_of_the_picture() -> None:
    data = _replaced(TURNED, ALPHA, bytes((0, 2, 5, PIXI, PIXI, AV1C, AUXC, IROT)))
    assert (_decoded(_refused_by_libavif(data)) == _decoded(TURNED)).all()


def test_a_rotation_that_is_not_marked_as_essential_is_one() -> None:
    data = TURNED.replace(bytes((IROT,)) + b"\0\2", bytes((IROT & 0x7F,)) + b"\0\2")
    assert data != TURNED
    assert (_decoded(_refused_by_libavif(data)) == _decoded(TURNED)).all()


def test_associations_in_several_boxes_are_one() -> None:
    start = TURNED.index(b"ipma") - 4
    end = start + int.from_bytes(TURNED[start : start + 4])
    first, second = (
        struct.pack(">I4sII", 16 + len(entry), b"ipma", 0, 1) + entry
        for entry in (TURNED[start + 16 : end - len(ALPHA)], TURNED[end - len(ALPHA) : end])
    )
    grown = len(first) + len(second) - (end - start)
    data = bytearray(TURNED[:start] + first + second + TURNED[end:])
    for kind in (b"meta", b"iprp"):
        place = data.index(kind) - 4
        struct.pack_into(">I", data, place, int.from_bytes(data[place : place + 4]) + grown)
    _move_items(data, grown)
    assert (_decoded(_refused_by_libavif(bytes(data))) == _decoded(TURNED)).all()


def _move_items(data: bytearray, distance: int) -> None:
    """Add to every offset of the item locations, as Pillow writes them: each in four bytes, before a length."""
    place = data.index(b"iloc")
    count = int.from_bytes(data[place + 10 : place + 12])
    for item in range(count):
        offset = place + 12 + 14 * item + 6
        struct.pack_into(">I", data, offset, int.from_bytes(data[offset : offset + 4]) + distance)


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")  # of Pillow
@pytest.mark.parametrize("junk", [b"junkjunk", b"MM\0*\xff\xff\xff\xff"])
def test_damaged_exif_does_not_cost_the_picture(junk: bytes) -> None:
    whole = _avif(exif=_exif())
    damaged = whole.replace(b"MM\0*\0\0\0\x08", junk)
    assert damaged != whole
    assert (_decoded(damaged) == _decoded(whole)).all()


def test_the_major_brand_may_be_another_where_avif_is_a_compatible_one() -> None:
    whole = _avif()
    assert (_decoded(whole[:8] + b"miaf" + whole[12:]) == _decoded(whole)).all()


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("size", [(17_000, 17_000), (40_000, 100), (2**31, 2**31)])
def test_a_size_beyond_the_limits_of_the_library_is_too_many_pixels(image_format: str, size: tuple[int, int]) -> None:
    data = encode(gradient(64, 64), image_format)
    data = re.sub(rb"(ispe\0{4}).{8}", lambda found: found[1] + struct.pack(">II", *size), data, flags=re.DOTALL)
    with pytest.raises(ImageTooManyPixelsError, match=f"{size[0]} x {size[1]} pixels"):
        _decoded(data)


@pytest.mark.parametrize("place", [4, 40, 60, 120, 200, 300])
def test_a_damaged_container_is_damage(place: int) -> None:
    whole = _avif()
    with pytest.raises(TruncatedImageError):
        open_image(whole[:32] + whole[32 + place :])


def test_large_metadata_are_not_mended_and_cost_no_time() -> None:
    associations = struct.pack(">I4sII", 16 + 3 * 1_000_000, b"ipma", 0, 1_000_000) + bytes(3_000_000)
    properties = struct.pack(">I4s", 8 + len(associations), b"iprp") + associations
    data = _avif()[:32] + struct.pack(">I4sI", 12 + len(properties), b"meta", 0) + properties
    with pytest.raises(TruncatedImageError):
        open_image(data)


def test_a_gain_map_that_cannot_be_read_does_not_cost_the_picture() -> None:
    whole = _avif()
    data = _replaced(whole, b"MA1B", b"tmap")  # announces a gain map, which is not there
    assert np.array_equal(_decoded(_refused_by_libavif(data)), _decoded(whole))
