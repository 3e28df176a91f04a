"""The bundle that everything uses by default, for the few tests that are about it: it is too large for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

PHOTOS_BUNDLE = Path(__file__).parents[2] / "bundles" / "photos"
needs_photos_bundle = pytest.mark.skipif(
    not (PHOTOS_BUNDLE / "bundle.json").exists(), reason="bundles/photos is not there"
)
