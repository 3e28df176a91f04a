from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from aff_shared.errors import ImageTooManyPixelsError, TruncatedImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from aff_shared.images.formats import open_image
from aff_shared.images.size import announced_pixels
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


def _rejected_by_libavif(data: bytes) -> bytes:
    """The same data, which Pillow alone does not open."""
    with pytest.raises((SyntaxError, ValueError, RuntimeError)):
        AvifImagePlugin.AvifImageFile(BytesIO(data))
    return data


TURNED = _avif(exif=_exif(6))  # in the container: a rotation
# The association of item 2, the alpha plane, with its five properties.
ALPHA = bytes((0, 2, 5, ISPE, PIXI, AV1C, AUXC, IROT))


def test_an_alpha_plane_without_a_size_has_that_of_the_picture() -> None:
    data = _replaced(TURNED, ALPHA, bytes((0, 2, 5, PIXI, PIXI, AV1C, AUXC, IROT)))
    assert (_decoded(_rejected_by_libavif(data)) == _decoded(TURNED)).all()


def test_a_rotation_that_is_not_marked_as_essential_is_one() -> None:
    data = TURNED.replace(bytes((IROT,)) + b"\0\2", bytes((IROT & 0x7F,)) + b"\0\2")
    assert data != TURNED
    assert (_decoded(_rejected_by_libavif(data)) == _decoded(TURNED)).all()


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
    assert (_decoded(_rejected_by_libavif(bytes(data))) == _decoded(TURNED)).all()


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
    assert np.array_equal(_decoded(_rejected_by_libavif(data)), _decoded(whole))


ANNOUNCED, CODED = (64, 64), (512, 256)
TILES = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64)  # one row of two
ALPHA_CHANNEL = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _coded(size: tuple[int, int] = ANNOUNCED) -> bytes:
    """The AV1 data of a picture."""
    encoded = encode(gradient(*size), "AVIF")
    return encoded[encoded.index(b"mdat") + 4 :]


def _container(
    *pictures: bytes, grid: bool = False, alpha: bool = False, inside: bool = False, padding: int = 0
) -> bytes:
    """An AVIF of AV1 data that it announces as 64 x 64 pixels each.

    `grid`: Two of them are side by side. `alpha`: The second one is the alpha plane of the first one.
    `inside`: The data are a part of the metadata, which have so many bytes of padding.
    """
    encoded = encode(gradient(*ANNOUNCED), "AVIF")
    configuration = encoded[encoded.index(b"av1C") - 4 :][:12]
    items = [TILES, *pictures] if grid else list(pictures)
    names, associations = b"", b""
    for number in range(1, len(items) + 1):
        kind, size = (b"grid", 5) if grid and number == 1 else (b"av01", 4)
        names += _box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, kind))
        used = (size, 2, 0x81, 3)[: 2 if kind == b"grid" else 4 if alpha and number > 1 else 3]
        associations += struct.pack(">HB", number, len(used)) + bytes(used)
    references = _box(b"dimg", struct.pack(">4H", 1, 2, 2, 3)) if grid else b""
    references += _box(b"auxl", struct.pack(">3H", 2, 1, 1)) if alpha else b""

    def with_data_at(offset: int) -> bytes:
        places = b""
        for number, item in enumerate(items, 1):
            places += struct.pack(">HHHHII", number, inside, 0, 1, offset, len(item))
            offset += len(item)
        meta = [
            _box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _box(b"pitm", struct.pack(">IH", 0, 1)),
            _box(b"iloc", struct.pack(">IHH", 1 << 24, 0x4400, len(items)), places),
            _box(b"iinf", struct.pack(">IH", 0, len(items)), names),
            _box(b"iref", bytes(4), references),
            _box(
                b"iprp",
                _box(
                    b"ipco",
                    configuration,
                    _box(b"pixi", bytes((0, 0, 0, 0, 3, 8, 8, 8))),
                    _box(b"auxC", bytes(4), ALPHA_CHANNEL),
                    *(_box(b"ispe", struct.pack(">III", 0, *size)) for size in (ANNOUNCED, (128, 64))[: 1 + grid]),
                ),
                _box(b"ipma", struct.pack(">II", 0, len(items)), associations),
            ),
            _box(b"idat" if inside else b"free", *(items if inside else []), bytes(padding)),
        ]
        return (
            _box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf") + _box(b"meta", bytes(4), *meta) + _box(b"mdat", *items)
        )

    return with_data_at(0 if inside else with_data_at(0).index(b"mdat") + 4)


@pytest.mark.parametrize("options", [{}, {"inside": True}, {"grid": True}, {"alpha": True}], ids=str)
def test_limits_count_the_pixels_that_av1_data_have_and_not_those_that_are_announced(options: dict[str, bool]) -> None:
    others = [_coded()] if {"grid", "alpha"} & options.keys() else []
    honest, dishonest = _container(*others, _coded(), **options), _container(*others, _coded(CODED), **options)
    width = 128 if "grid" in options else 64
    assert _decoded(honest).shape == _decoded(dishonest).shape == (64, width, 3)  # libavif scales what it decoded
    assert announced_pixels(honest) == 64 * width
    assert announced_pixels(dishonest) == 512 * 256
    with pytest.raises(ImageTooManyPixelsError, match="131072 pixels are decoded of it"):
        decode_image(dishonest, ImageLimits(max_pixels=512 * 256 - 1))
    with pytest.raises(ImageTooManyPixelsError, match="max_decoder_bytes"):
        decode_image(dishonest, ImageLimits(large_pixels=10_000, max_decoder_bytes=512 * 256))


def test_the_size_in_an_altered_file_of_an_encoder_is_that_of_its_data() -> None:
    small = struct.pack(">II", 64, 64)
    for pixels in (gradient(512, 256), Image.fromarray(gradient(512, 256)).convert("RGBA")):
        data = encode(pixels, "AVIF").replace(struct.pack(">II", 512, 256), small)
        assert open_image(data).size == (64, 64)
        assert announced_pixels(data) == 512 * 256


@pytest.mark.parametrize("size", [(1, 1), (16, 9), (77, 123), (1023, 65)])
@pytest.mark.parametrize("frames", [1, 3])
def test_an_ordinary_file_codes_the_size_that_it_announces(size: tuple[int, int], frames: int) -> None:
    first = Image.fromarray(gradient(*size)).convert("RGBA")
    data = encode(first, "AVIF", save_all=True, append_images=[first] * (frames - 1))
    assert announced_pixels(data) == size[0] * size[1]


def test_the_first_frame_of_an_animation_counts_too() -> None:
    frames = [Image.fromarray(gradient(*CODED)), Image.fromarray(gradient(*CODED)[::-1])]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert announced_pixels(data.replace(struct.pack(">II", 512, 256), struct.pack(">II", 64, 64))) == 512 * 256
    assert announced_pixels(data.replace(b"meta", b"free")) == 512 * 256


def test_a_frame_with_another_size_may_have_as_many_pixels_as_its_bits_can_state() -> None:
    first = Image.fromarray(gradient(77, 123))
    data = bytearray(encode(first, "AVIF", save_all=True, append_images=[first.rotate(180)]))
    frame = data.index(b"\x32", data.index(b"mdat") + 4 + 2 + 12)  # after a delimiter and a sequence header
    place = frame + (3 if data[frame + 1] & 0x80 else 2)
    assert data[place] & 0b1111_1110 == 0b0001_0000  # a shown key frame, without another size
    data[place] |= 0b10
    assert announced_pixels(bytes(data)) == 128 * 128


def test_metadata_that_are_too_large_to_be_looked_at_are_rejected() -> None:
    with pytest.raises(TruncatedImageError, match="disagree about its size"):
        _decoded(_container(_coded(), inside=True, padding=1 << 20))
    with pytest.raises(TruncatedImageError, match="disagree about its size"):
        _decoded(_container(_coded()) + _box(b"moov", bytes(1 << 20)))
    with pytest.raises(TruncatedImageError, match="disagree about its size"):
        _decoded(_container(_coded()) + 256 * _box(b"free"))


def test_more_units_of_av1_data_than_are_looked_at_are_rejected() -> None:
    with pytest.raises(TruncatedImageError, match="disagree about its size"):
        _decoded(_container(b"\x12\0" * 300 + _coded(CODED)))
