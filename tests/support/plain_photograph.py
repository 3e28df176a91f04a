"""A photograph of one colour: its mean colour is known, and so is whatever the fakes make of it."""

from __future__ import annotations

from PIL import Image

from tests.support.images import encode


def plain_png(colour: tuple[int, int, int], *, width: int = 32, height: int = 24) -> bytes:
    """Encode a PNG file of one RGB colour."""
    return encode(Image.new("RGB", (width, height), colour), "PNG")
