"""What is kept of an image once its pixels are gone."""

from __future__ import annotations

from dataclasses import dataclass

from aff_shared.store.gallery_store import Embedding


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """An image that was decoded and embedded.

    Attributes:
        embedding: (D,) float32, unit length.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        extractors: Names of the extractors that found something in it.
        thumbnail: A small WebP file; None where none is wanted.
    """

    embedding: Embedding
    width: int
    height: int
    extractors: tuple[str, ...]
    thumbnail: bytes | None = None
