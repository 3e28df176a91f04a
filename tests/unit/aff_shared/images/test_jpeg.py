from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from aff_shared.errors import ImageError, TruncatedImageError, UnsupportedImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.images import Pixels, encode, gradient, jpeg_bytes, quarters
from tests.support.jpeg_variants import lossless_jpeg, of_process, segment

LIMITS = ImageLimits()
BEHIND_JFIF = 20
NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"restart_marker_blocks": 3},
    {"progressive": True, "restart_marker_rows": 1},
    {"subsampling": 0, "quality": 95},
]


def _decoded(data: bytes, min_side: int | None = None) -> Pixels:
    return decode_image(data, LIMITS, min_side=min_side).pixels


def _verdict(data: bytes, min_side: int | None) -> str:
    try:
        decode_image(data, LIMITS, min_side=min_side)
    except ImageError as error:
        return f"{error.code}: {error.detail}"
    return "decoded"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "tail", [b"", b"\xff", b"\0\0\x00\x08SEFH" + bytes(range(256)) * 40, b"\xff\xd8\xff\xe0\0\x10JFIF"]
)
def test_a_jpeg_without_its_end_marker_is_the_same_picture(kind: dict[str, Any], tail: bytes) -> None:
    whole = encode(NOISE, "JPEG", **kind)
    for min_side in (None, 12):
        assert (_decoded(whole[:-2] + tail, min_side) == _decoded(whole, min_side)).all()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_grey_or_cmyk_jpeg_may_lack_its_end_marker_too(mode: str) -> None:
    whole = encode(Image.fromarray(NOISE).convert(mode), "JPEG")
    assert (_decoded(whole[:-2]) == _decoded(whole)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"", b"\0\0\x00\x08SEFH" + bytes(20)])
def test_a_jpeg_that_lacks_pixels_is_rejected_wherever_it_is_cut(kind: dict[str, Any], tail: bytes) -> None:
    whole = encode(NOISE, "JPEG", **kind)
    for kept in (0.3, 0.6, 0.9, 0.99):
        cut = whole[: int(len(whole) * kept)] + tail
        assert _verdict(cut, None).startswith("image_truncated"), kept
        assert _verdict(cut, 12).startswith("image_truncated"), kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_cut_jpeg_is_not_made_whole_by_an_end_marker(kind: dict[str, Any], mode: str) -> None:
    whole = encode(Image.fromarray(NOISE).convert(mode), "JPEG", **kind)
    # The last scan of a progressive file adds half a level of grey: what is missing of it does not show.
    for kept in (0.3, 0.5) if "progressive" in kind else (0.3, 0.6, 0.9):
        closed = whole[: int(len(whole) * kept)].rstrip(b"\xff") + b"\xff\xd9"
        assert _verdict(closed, None).startswith("image_truncated"), kept
        assert _verdict(closed, 12).startswith("image_truncated"), kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_jpeg_may_end_in_the_grey_of_missing_pixels(kind: dict[str, Any]) -> None:
    grey_below = NOISE.copy()
    grey_below[NOISE.shape[0] // 2 :] = 128
    assert (_decoded(encode(grey_below, "JPEG", **kind))[-1, -1] == 128).all()


@pytest.mark.parametrize("kind", [{"progressive": True}, {"progressive": True, "restart_marker_rows": 1}])
def test_a_progressive_jpeg_that_lacks_a_scan_is_rejected(kind: dict[str, Any]) -> None:
    whole = encode(NOISE, "JPEG", **kind)
    for scans in range(1, whole.count(b"\xff\xda")):
        end = -1
        for _ in range(scans + 1):
            end = whole.index(b"\xff\xda", end + 1)
        with pytest.raises(TruncatedImageError):
            _decoded(whole[: whole.rindex(b"\xff\xc4", 0, end)])


def test_a_jpeg_cut_between_two_restart_intervals_is_rejected() -> None:
    whole = encode(NOISE, "JPEG", restart_marker_blocks=3)
    for number in (0, 3, 7):
        with pytest.raises(TruncatedImageError):
            _decoded(whole[: whole.index(bytes((0xFF, 0xD0 + number)), 700)])


def test_a_lossless_jpeg_is_decoded_as_a_whole_for_every_min_side() -> None:
    levels = gradient()[:, :, 0]
    for data in (lossless_jpeg(levels), lossless_jpeg(levels)[:-2]):
        for min_side in (None, 8):
            assert (_decoded(data, min_side)[:, :, 1] == levels).all()


@pytest.mark.parametrize("process", [0xC0, 0xC1, 0xC9])
def test_an_extended_or_arithmetic_jpeg_is_read(process: int) -> None:
    assert _decoded(of_process(process)).shape == (64, 64, 3)
    assert _decoded(of_process(process), 8).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("process", "options", "named"),
    [
        (0xC1, {"bits": 12}, "extended sequential process with 12 bits"),
        (0xC3, {"bits": 16}, "lossless process with 16 bits"),
        (0xC5, {}, "differential sequential"),
        (0xC6, {}, "differential progressive"),
        (0xC7, {}, "differential lossless"),
        (0xCB, {}, "arithmetic lossless"),
        (0xCD, {}, "arithmetic differential sequential"),
        (0xDE, {}, "hierarchical"),
        (0xF7, {}, "JPEG-LS"),
        (0xC0, {"sampling": (0x11, 0x11)}, "2 components"),
        (0xC0, {"sampling": (0x31, 0x21, 0x11)}, "fractional sampling"),
        (0xC0, {"height": 0}, "DNL"),
    ],
)
def test_an_unsupported_coding_process_is_named_for_every_min_side(
    process: int, options: dict[str, Any], named: str
) -> None:
    data = of_process(process, **options)
    with pytest.raises(UnsupportedImageError, match=named):
        _decoded(data)
    assert _verdict(data, None) == _verdict(data, 8)


@pytest.mark.parametrize(
    "beside",
    [
        segment(0xE0, b"JFIF\0"),
        segment(0xE0, b"JFXX\0" + bytes(3)),
        segment(0xE1, b"Exif\0\0junk that is no TIFF header"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"MPF\0II*\0" + b"\xff" * 20),
        segment(0xED, b"Photoshop 3.0\x008BIM"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed"),
        segment(0xEE, b"Adobe"),
        segment(0xFE, b"a comment"),
        segment(0xEB, bytes(60_000)) * 100,
        b"\xff\xff\xff",
        b"\x00junk\xff\x00",
    ],
)
def test_damage_outside_the_pixels_does_not_prevent_decoding(beside: bytes) -> None:
    whole = jpeg_bytes()
    assert (_decoded(whole[:BEHIND_JFIF] + beside + whole[BEHIND_JFIF:]) == _decoded(whole)).all()


def test_more_segments_than_any_program_writes_are_not_read() -> None:
    whole = jpeg_bytes()
    with pytest.raises(TruncatedImageError, match="10000 segments"):
        _decoded(whole[:2] + segment(0xFE, b"") * 10_000 + whole[2:])


def test_of_two_exif_blocks_the_first_counts() -> None:
    sixth, third = (jpeg_bytes(quarters(), orientation=orientation) for orientation in (6, 3))
    exif = third[20 : 22 + int.from_bytes(third[22:24])]
    assert exif[4:10] == b"Exif\0\0"
    both = sixth[: 22 + int.from_bytes(sixth[22:24])] + exif + sixth[22 + int.from_bytes(sixth[22:24]) :]
    assert (_decoded(both) == _decoded(sixth)).all()
