from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aff_shared.errors import ImageError
from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.images import encode, gradient, jpeg_bytes

LIMITS = ImageLimits(max_pixels=1_000_000)
FILES = (
    jpeg_bytes(orientation=6),
    encode(gradient(), "PNG"),
    encode(Image.fromarray(gradient()).convert("P"), "PNG", transparency=bytes(range(256))),
    encode(gradient(), "WEBP"),
    encode(Image.fromarray(gradient()).convert("P"), "GIF", transparency=3),
    encode(gradient(), "BMP"),
)

# Pillow warns of odd metadata; a warning neither stops nor changes the decoding.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _decodes_or_is_refused(data: bytes, min_side: int | None = None) -> None:
    try:
        pixels = decode_image(data, LIMITS, min_side=min_side).pixels
    except ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


@st.composite
def _damaged_files(draw: st.DrawFn) -> bytes:
    """A real file with some bytes overwritten, some left out, and possibly its end cut off."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data) - 1))
        if draw(st.booleans()):
            data[start] = draw(st.integers(0, 255))
        else:
            del data[start : start + draw(st.integers(1, 8))]
    return bytes(data[: draw(st.integers(1, len(data)))] if draw(st.booleans()) else data)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_rejected(data: bytes) -> None:
    _decodes_or_is_refused(data)


@given(st.sampled_from(FILES), st.binary(max_size=60))
def test_a_real_header_before_any_bytes_decodes_or_is_rejected(file: bytes, tail: bytes) -> None:
    _decodes_or_is_refused(file[:40] + tail)


@given(_damaged_files(), st.sampled_from([None, 8]))
def test_a_damaged_file_decodes_or_is_rejected(data: bytes, min_side: int | None) -> None:
    _decodes_or_is_refused(data, min_side)
