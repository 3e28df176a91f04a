"""From an encoded photograph to what a bundle's extractors take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from aff_shared.images.decoding import ImageLimits, decode_image
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.image_encoder import EncoderInput, Pixels
from gallery_indexer.indexing.thumbnail_maker import ThumbnailMaker


@dataclass(frozen=True, slots=True)
class PreparedPhotograph:
    """A photograph that was decoded and brought to the input sizes.

    Attributes:
        image: What the encoder takes.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        thumbnail: A small WebP file; None where none is wanted.
        decode_s: Seconds that decoding took.
        prepare_s: Seconds that the rest took.
    """

    image: EncoderInput
    width: int
    height: int
    thumbnail: bytes | None
    decode_s: float
    prepare_s: float


@dataclass(frozen=True, slots=True)
class PhotographPreparation:
    """How photographs are prepared; may be called in several threads at a time, and sent to another process.

    Attributes:
        limits: What an image may be before it is decoded.
        preprocessings: Of the extractors, in their order.
        thumbnails: Of the photographs; None makes none.
    """

    limits: ImageLimits
    preprocessings: tuple[Preprocessing, ...]
    thumbnails: ThumbnailMaker | None = None

    def __call__(self, data: bytes, name: str) -> PreparedPhotograph:
        """Decode an image file, and bring it to the input sizes.

        Raises:
            ImageError: One of its subclasses says what is wrong with the image.
        """
        began = time.perf_counter()
        decoded = decode_image(data, self.limits, min_side=self._min_side, name=name)
        decoded_at = time.perf_counter()
        return PreparedPhotograph(
            prepare_photograph(decoded.pixels, self.preprocessings),
            decoded.width,
            decoded.height,
            None if self.thumbnails is None else self.thumbnails.make(decoded.pixels),
            decode_s=decoded_at - began,
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
