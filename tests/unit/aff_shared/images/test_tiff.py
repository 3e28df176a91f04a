from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from aff_shared.errors import TruncatedImageError, UnsupportedImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.images import Pixels, encode, gradient, quarters
from tests.support.tiff_files import TiffImage, tiff_file

LIMITS = ImageLimits()
SMALL, FULL = gradient(16, 12), gradient(64, 48)
SUBFILE_TYPE, OLD_SUBFILE_TYPE, COMPRESSION, PHOTOMETRIC = 254, 255, 259, 262
REDUCED, PAGE, MASK = 1, 2, 4
SENSOR, LINEAR_SENSOR = 32803, 34892


def _decoded(data: bytes) -> Pixels:
    return decode_image(data, LIMITS).pixels


def _thumbnail(*below: TiffImage) -> TiffImage:
    return TiffImage(SMALL, {SUBFILE_TYPE: REDUCED}, below)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "images",
    [
        (_thumbnail(), TiffImage(FULL)),
        (_thumbnail(), TiffImage(FULL, {SUBFILE_TYPE: 0})),
        (_thumbnail(), TiffImage(FULL, {SUBFILE_TYPE: PAGE})),
        (TiffImage(SMALL, {OLD_SUBFILE_TYPE: 2}), TiffImage(FULL, {OLD_SUBFILE_TYPE: 1})),
        (_thumbnail(TiffImage(FULL)),),
        (_thumbnail(TiffImage(SMALL), TiffImage(FULL)),),
        (_thumbnail(TiffImage(gradient(128, 96), {SUBFILE_TYPE: REDUCED}), TiffImage(FULL)),),
        (_thumbnail(), TiffImage(gradient(128, 96), {SUBFILE_TYPE: MASK}), TiffImage(FULL)),
        (_thumbnail(), TiffImage(FULL, {SUBFILE_TYPE: REDUCED})),
    ],
)
def test_behind_a_reduced_copy_the_full_image_is_read(images: tuple[TiffImage, ...], big: bool) -> None:
    assert (_decoded(tiff_file(*images, big=big)) == FULL).all()


def test_a_lone_image_is_read_whatever_it_is_called() -> None:
    assert (_decoded(tiff_file(_thumbnail())) == SMALL).all()


def test_of_several_pages_the_first_is_read_however_small() -> None:
    assert (_decoded(tiff_file(TiffImage(SMALL), TiffImage(FULL))) == SMALL).all()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("photometric", [SENSOR, LINEAR_SENSOR])
def test_a_cameras_raw_file_is_not_indexed_by_its_thumbnail(photometric: int, big: bool) -> None:
    raw = TiffImage(FULL[:, :, 0], {PHOTOMETRIC: photometric, SUBFILE_TYPE: 0})
    preview = TiffImage(FULL, {SUBFILE_TYPE: REDUCED})
    for data in (tiff_file(_thumbnail(preview, raw), big=big), tiff_file(_thumbnail(), raw, big=big), tiff_file(raw)):
        with pytest.raises(UnsupportedImageError, match="sensor"):
            _decoded(data)


def test_a_canon_raw_file_is_named() -> None:
    data = struct.pack("<2sHI4s", b"II", 42, 16, b"CR\x02\0") + bytes(100)
    with pytest.raises(UnsupportedImageError, match="CR2"):
        _decoded(data)


@pytest.mark.parametrize("compression", [34713, 34892, 50002, 50001])
def test_a_compression_that_cannot_be_read_is_named(compression: int) -> None:
    with pytest.raises(UnsupportedImageError, match=str(compression)):
        _decoded(tiff_file(TiffImage(FULL, {COMPRESSION: compression})))


def test_a_sample_type_that_cannot_be_read_is_unsupported() -> None:
    with pytest.raises(UnsupportedImageError):
        _decoded(tiff_file(TiffImage(FULL[:, :, 0].astype(np.float64))))


def test_the_full_image_is_turned_by_its_own_orientation() -> None:
    stored = TiffImage(quarters(), {274: 6})
    upright = encode(quarters(), "TIFF", tiffinfo={274: 6})
    assert (_decoded(tiff_file(_thumbnail(), stored)) == _decoded(upright)).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_directories_that_lead_in_circles_or_nowhere_are_damage() -> None:
    data = bytearray(tiff_file(_thumbnail()))
    directory = struct.unpack_from("<I", data, 4)[0]
    for following in (directory, 2**32 - 1, len(data) - 1):
        struct.pack_into("<I", data, len(data) - 4, following)
        assert (_decoded(bytes(data)) == SMALL).all()
    struct.pack_into("<I", data, 4, 2**32 - 1)
    with pytest.raises(TruncatedImageError):
        _decoded(bytes(data))


GREY = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) % 256
BITS = [8, 10, 12, 14, 15, 16]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kept_in", [np.uint16, np.int16, np.int32, np.uint32, np.float32])
def test_grey_is_the_same_picture_whatever_it_is_kept_in(kept_in: type[np.generic], bits: int) -> None:
    levels = np.minimum(GREY.astype(np.int64) << (bits - 8), np.iinfo(np.int16).max if kept_in is np.int16 else 2**31)
    pixels = _decoded(tiff_file(TiffImage(levels.astype(kept_in))))
    expected = np.minimum(GREY, 127) * 2 if kept_in is np.int16 and bits == 16 else GREY
    assert np.abs(pixels[:, :, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("brightest", [1.0, 255.0, 1023.0, 4095.0, 65535.0])
def test_floats_of_the_usual_ranges_are_the_same_picture(brightest: float) -> None:
    pixels = _decoded(tiff_file(TiffImage((GREY / 255 * brightest).astype(np.float32))))
    assert np.abs(pixels[:, :, 0].astype(int) - GREY).max() <= 1


@pytest.mark.parametrize(("kept_in", "factor"), [(np.int16, 256), (np.int16, 16), (np.int32, 1000), (np.float32, 0.01)])
def test_signed_levels_reach_from_black_to_white(kept_in: type[np.generic], factor: float) -> None:
    signed = (GREY.astype(np.float64) - 128) * factor
    pixels = _decoded(tiff_file(TiffImage(signed.astype(kept_in))))
    assert np.abs(pixels[:, :, 0].astype(int) - GREY).max() <= 1


def test_unsigned_levels_beyond_two_to_the_31_are_not_negative() -> None:
    pixels = _decoded(tiff_file(TiffImage(GREY.astype(np.uint32) << 24)))
    assert (pixels[:, :, 0] == GREY).all()


@pytest.mark.parametrize("kept_in", [np.uint8, np.uint16, np.float32])
def test_a_deep_negative_is_the_same_picture(kept_in: type[np.generic]) -> None:
    negative = ((255 - GREY) * (257 if kept_in is np.uint16 else 1)).astype(kept_in)
    pixels = _decoded(tiff_file(TiffImage(negative, {PHOTOMETRIC: 0})))
    assert np.abs(pixels[:, :, 0].astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_fewer_bits_than_sixteen_is_as_bright(bits: int, channels: int) -> None:
    opaque = np.full((48, 64, 1), 2**bits - 1, dtype=np.uint16)
    levels = np.concatenate([FULL.astype(np.uint16) << (bits - 8), opaque], axis=2)[:, :, :channels]
    assert (_decoded(tiff_file(TiffImage(np.ascontiguousarray(levels)))) == FULL).all()


def test_colour_of_sixteen_bits_in_a_compressed_file_is_scaled_too() -> None:
    # Pillow cannot write it: the strip of a plain one is compressed by hand, as one PackBits run of literals a row.
    levels = FULL.astype(np.uint16) << 4
    plain = TiffImage(np.ascontiguousarray(levels))
    rows = b"".join(bytes((127,)) + part.tobytes() for row in levels for part in row.view(np.uint8).reshape(-1, 128))
    packed = np.frombuffer(rows, dtype=np.uint8)
    data = bytearray(tiff_file(plain) + packed.tobytes())
    directory = struct.unpack_from("<I", data, 4)[0]
    for place in range(directory + 2, len(data) - packed.size - 4, 12):
        tag = struct.unpack_from("<H", data, place)[0]
        if tag in (COMPRESSION, 273, 279):
            value = {COMPRESSION: 32773, 273: len(data) - packed.size, 279: packed.size}[tag]
            struct.pack_into("<I", data, place + 8, value)
    assert (_decoded(bytes(data)) == FULL).all()


def test_pages_of_an_ordinary_file_stay_as_they_were() -> None:
    first, second = Image.fromarray(FULL), Image.fromarray(SMALL)
    assert (_decoded(encode(first, "TIFF", save_all=True, append_images=[second])) == FULL).all()
