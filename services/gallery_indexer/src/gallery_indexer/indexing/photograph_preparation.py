"""Decodes photographs and resizes them to the input sizes of a bundle's extractors."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from PIL import Image

from aff_shared.images.decoding import ImageLimits, decode_image
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.image_encoder import EncoderInput, Pixels

if TYPE_CHECKING:
    from gallery_indexer.indexing.card_decoder import CardPhotograph

_SMALLEST_SIZE = 16  # of a preprocessing
_FASTEST = 0  # of WebP's methods; slower ones save a tenth of the bytes


@dataclass(frozen=True, slots=True)
class ThumbnailMaker:
    """Makes thumbnails in WebP.

    Attributes:
        side: Longer side in pixels; smaller photographs keep their size.
        quality: 1 to 100.
    """

    side: int
    quality: int

    @classmethod
    def of(cls, side: int, quality: int) -> Self | None:
        """Return a maker; None for the side 0."""
        return cls(side, quality) if side else None

    def make(self, photograph: Pixels) -> bytes:
        """Return the thumbnail of an (H, W, 3) uint8 upright RGB photograph. Thread-safe."""
        picture = Image.fromarray(photograph)
        picture.thumbnail((self.side, self.side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=self.quality, method=_FASTEST)
        return file.getvalue()


@dataclass(frozen=True, slots=True)
class PreparedPhotograph:
    """A photograph that was decoded and resized to the input sizes.

    Attributes:
        pixels: Input of the encoder.
        width: Width of the upright photograph in pixels.
        height: Height of the upright photograph in pixels.
        thumbnail: A WebP file; None for no thumbnail.
        decode_s: Time of decoding, in seconds.
        prepare_s: Time of resizing and of the thumbnail, in seconds.
    """

    pixels: EncoderInput
    width: int
    height: int
    thumbnail: bytes | None
    decode_s: float
    prepare_s: float


@dataclass(frozen=True, slots=True)
class PhotographPreparation:
    """Decodes and prepares photographs. Thread-safe, and a valid part of a message to another process.

    Attributes:
        limits: Limits of images before they are decoded.
        preprocessings: Preprocessing of each extractor, in their order.
        thumbnails: Makes the thumbnails; None for none.
        on_card: Whether a GPU decodes and resizes the JPEGs that it can decode; see decode_on_card.
    """

    limits: ImageLimits
    preprocessings: tuple[Preprocessing, ...]
    thumbnails: ThumbnailMaker | None = None
    on_card: bool = False

    def __call__(self, data: bytes, name: str) -> PreparedPhotograph:
        """Decode an image file and prepare it.

        Raises:
            ImageError: The image is invalid or exceeds a limit; the subclass names the reason.
        """
        started = time.perf_counter()
        on_card = self._decoded_on_card(data)
        if on_card is not None:
            return self._prepared_on_card(on_card, started)
        decoded = decode_image(data, self.limits, min_side=self._min_side, name=name)
        decoded_at = time.perf_counter()
        return PreparedPhotograph(
            prepare_photograph(decoded.pixels, self.preprocessings),
            decoded.width,
            decoded.height,
            None if self.thumbnails is None else self.thumbnails.make(decoded.pixels),
            decode_s=decoded_at - started,
            prepare_s=time.perf_counter() - decoded_at,
        )

    def _decoded_on_card(self, data: bytes) -> CardPhotograph | None:
        if not self.on_card:
            return None
        from gallery_indexer.indexing.card_decoder import decode_on_card  # noqa: PLC0415 - imports torch

        return decode_on_card(data, self.limits)

    def _prepared_on_card(self, photograph: CardPhotograph, started: float) -> PreparedPhotograph:
        decoded_at = time.perf_counter()
        prepared = {spec: photograph.preprocessed(spec) for spec in dict.fromkeys(self.preprocessings)}
        thumbnail = None
        if self.thumbnails is not None:
            size = Preprocessing(resize="longest_side", size=max(self.thumbnails.side, _SMALLEST_SIZE))
            thumbnail = self.thumbnails.make(photograph.preprocessed(size))
        return PreparedPhotograph(
            tuple(prepared[spec] for spec in self.preprocessings),
            photograph.width,
            photograph.height,
            thumbnail,
            decode_s=decoded_at - started,
            prepare_s=time.perf_counter() - decoded_at,
        )

    @property
    def _min_side(self) -> int:
        thumbnail_side = 0 if self.thumbnails is None else self.thumbnails.side
        return max(thumbnail_side, *(preprocessing.size for preprocessing in self.preprocessings))


def prepare_photograph(photograph: Pixels, preprocessings: tuple[Preprocessing, ...]) -> EncoderInput:
    """Preprocess an (H, W, 3) uint8 upright RGB photograph for each extractor; equal ones share the pixels."""
    prepared = {spec: preprocess(photograph, spec) for spec in dict.fromkeys(preprocessings)}
    return tuple(prepared[spec] for spec in preprocessings)
