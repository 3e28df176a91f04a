"""Details of a damaged image file are plausible, or left out; nothing is raised."""

from __future__ import annotations

import json
from random import Random

import pillow_heif
import pytest
from PIL import ExifTags, Image

from aff_shared.images.details import photograph_details
from aff_shared.schemas.payload_filter import GeoPoint
from aff_shared.schemas.payload_schema import key_of_another_type
from tests.fuzz.cases import run_cases
from tests.fuzz.mutations import mutated
from tests.support.images import encode, gradient

SCHEMA = {"file_name": "keyword", "folder": "keyword", "camera": "keyword", "taken_at": "datetime", "location": "geo"}


def _files() -> dict[str, bytes]:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "FUJIFILM", "X100V"
    exif.get_ifd(ExifTags.IFD.Exif).update({0x9003: "2024:05:01 10:11:12", 0x9011: "+02:00"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (46.0, 57.0, 3.9), 3: "E", 4: (7.0, 26.0, 47.4)})
    formats = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF")
    return {name: encode(gradient(16, 16), name, exif=exif.tobytes()) for name in formats}


FILES = _files()


@pytest.mark.parametrize("image_format", FILES)
def test_details_of_a_damaged_image_are_plausible(image_format: str) -> None:
    def case(rng: Random) -> str:
        details = photograph_details(mutated(rng, FILES[image_format], list(FILES.values())), "a/b.jpg")
        assert details.keys() <= SCHEMA.keys()
        assert (details["file_name"], details["folder"]) == ("b.jpg", "a")
        assert key_of_another_type(details, SCHEMA) is None
        json.dumps(details, allow_nan=False).encode()
        assert len(details.get("camera", "")) <= 128
        if "location" in details:
            GeoPoint.model_validate(details["location"])
        return f"{len(details)} details"

    outcomes = run_cases(f"details {image_format}", 0.05 / len(FILES), case)
    assert {"2 details", "5 details"} <= outcomes.keys() or outcomes.total() < 100
