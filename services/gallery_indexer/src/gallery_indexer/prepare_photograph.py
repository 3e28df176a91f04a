"""Brings a photograph to the input sizes of a bundle's extractors."""

from __future__ import annotations

from collections.abc import Sequence

from aff_contracts.preprocessing import Preprocessing, preprocess
from gallery_indexer.image_encoder import Pixels, PreparedImage


def prepare_photograph(photograph: Pixels, preprocessings: Sequence[Preprocessing]) -> PreparedImage:
    """Preprocess an (H, W, 3) uint8 upright RGB photograph for each extractor; equal ones share the pixels."""
    prepared = {spec: preprocess(photograph, spec) for spec in dict.fromkeys(preprocessings)}
    return tuple(prepared[spec] for spec in preprocessings)
