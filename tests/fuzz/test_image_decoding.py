"""A damaged image file is decoded, or rejected with one of our errors, in little memory."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from aff_shared.errors import ImageError, InvalidCropError
from aff_shared.images.decoding import Crop, ImageLimits, decode_image
from tests.fuzz.cases import run_cases
from tests.fuzz.image_files import image_files, with_absurd_size, with_right_checksums
from tests.fuzz.mutations import mutated

FILES = image_files()
ALL = [data for files in FILES.values() for data in files]
LIMITS = ImageLimits(max_pixels=1_000_000, max_side=1000)
STREAMED = LIMITS.model_copy(update={"large_pixels": 1})
CROPS = (None, Crop(1, 1, 20, 20), Crop(0, 0, 5000, 3))

pytestmark = pytest.mark.filterwarnings("ignore")  # as in a service


@pytest.mark.parametrize("image_format", FILES)
def test_a_damaged_image_is_decoded_or_rejected(image_format: str) -> None:
    def case(rng: Random) -> str:
        data = rng.choice(FILES[image_format])
        if rng.random() < 0.2:
            data = with_absurd_size(rng, data)
        if rng.random() < 0.9:
            data = mutated(rng, data, ALL)
        if image_format == "PNG" and rng.random() < 0.7:
            data = with_right_checksums(data)
        try:
            limits = rng.choice((LIMITS, STREAMED))
            decoded = decode_image(data, limits, min_side=rng.choice((None, 4)), crop=rng.choice(CROPS))
        except (ImageError, InvalidCropError) as error:
            return error.code
        assert decoded.pixels.dtype == np.uint8
        assert decoded.pixels.ndim == 3
        assert decoded.pixels.shape[2] == 3
        assert decoded.pixels.flags.c_contiguous
        assert decoded.width * decoded.height <= LIMITS.max_pixels
        return "decoded"

    outcomes = run_cases(f"images {image_format}", 0.55 / len(FILES), case)
    assert {"decoded", "image_truncated"} <= outcomes.keys() or outcomes.total() < 100
