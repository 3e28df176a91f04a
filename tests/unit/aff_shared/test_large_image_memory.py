"""The largest images that are accepted take no more memory than the services' limits are made for."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from aff_shared.images.decoding import ImageLimits, decode_image
from tests.support.largest_images import LARGEST_IMAGES

pytestmark = pytest.mark.slow

MOST_MB = 450
PROCESS = Path("/proc/self")


def _megabytes(field: str) -> int:
    lines = (PROCESS / "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 // 1_000_000


@pytest.mark.skipif(not (PROCESS / "clear_refs").exists(), reason="only Linux reports the peak")
@pytest.mark.parametrize("kind", LARGEST_IMAGES)
def test_an_image_of_100_megapixels_is_decoded_in_the_memory_that_is_promised(kind: str) -> None:
    data = LARGEST_IMAGES[kind]()
    gc.collect()
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")  # the peak is reset
    before = _megabytes("VmRSS")
    pixels = decode_image(data, ImageLimits(), min_side=224).pixels
    assert _megabytes("VmHWM") - before <= MOST_MB
    assert min(pixels.shape[:2]) >= 2 * 224
