"""Small pictures of indexed images, for people who look at hits."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Self

from PIL import Image

from gallery_indexer.features.image_encoder import Pixels

_FASTEST = 0  # of WebP's methods; slower ones save a tenth of the bytes


@dataclass(frozen=True, slots=True)
class ThumbnailMaker:
    """Makes thumbnails in WebP.

    Attributes:
        side: Pixels of the longer side; smaller photographs stay as they are.
        quality: 1 to 100.
    """

    side: int
    quality: int

    @classmethod
    def of(cls, side: int, quality: int) -> Self | None:
        """Return a maker; None for the side 0."""
        return cls(side, quality) if side else None

    def make(self, photograph: Pixels) -> bytes:
        """Return the thumbnail of an (H, W, 3) uint8 upright RGB photograph. Several threads may call it."""
        picture = Image.fromarray(photograph)
        picture.thumbnail((self.side, self.side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=self.quality, method=_FASTEST)
        return file.getvalue()
