"""An extractor that knows nothing: what a useless feature costs (finding 7)."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images

NOISE = "noise"


class NoiseExtractor:
    """Gives a random unit vector per photograph: equal pixels give equal noise, and nothing else does."""

    def __init__(self, dimension: int) -> None:
        self.spec = ExtractorSpec(
            name=NOISE,
            family=NOISE,
            preprocessing=Preprocessing(resize="stretch", size=16),
            features=(FeatureSpec(name=NOISE, kind="global", dimension=dimension, max_tokens=1),),
            weights_source="none: a random vector per photograph",
        )

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        width = self.spec.features[0].dimension
        draws = [np.random.default_rng(zlib.crc32(image.tobytes())).standard_normal(width) for image in images]
        vectors = np.stack([draw / np.linalg.norm(draw) for draw in draws])
        return {NOISE: FeatureBatch.from_global(torch.from_numpy(vectors.astype(np.float32)))}
