"""Networks of ablations: a query encoder with a frozen trunk, and a useless extractor.

The trunk's vectors are computed once, and only a head is trained. On two cores, a training takes seconds instead of
minutes from pixels, which allows many variants, seeds and steps. The effect of training the trunk is not measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.training_set import TrainingSet
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.stages.query_side import fit_partial_whitening
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.mixers.anchored import AnchoredMixer

NOISE = "noise"


class FrozenTrunkEncoder(QueryEncoder):
    """A whitening layer on vectors of a frozen trunk, and L2 (Wu et al., CVPR 2023)."""

    def __init__(self, channels: int, dimension: int, *, normalises_embeddings: bool = True) -> None:
        """Create the head with random weights.

        Args:
            channels: Dimension of the trunk's vectors.
            dimension: Embedding dimension D.
            normalises_embeddings: Whether batch statistics centre and scale the embeddings; see LightweightEncoder.
        """
        whitening = nn.Linear(channels, dimension)
        super().__init__(nn.Sequential(whitening, nn.BatchNorm1d(dimension)) if normalises_embeddings else whitening)
        self.whitening = whitening

    def forward(self, image: Tensor) -> Tensor:
        """Embed the vectors (B, C) of a batch: (B, D) float32, unit length."""
        return F.normalize(self.network(image).float(), dim=-1)


class FrozenTrunkSet(TrainingSet):
    """The photographs of a store, with the trunk's vectors instead of pixels for the query encoder."""

    def __init__(self, store: FeatureStore, features: Sequence[str], light: FeatureStore, feature: str) -> None:
        """Select the readable rows of a store.

        Args:
            store: Store with the mixer's features.
            features: Names of the mixer's features.
            light: Store with the trunk's vectors of the same photographs, in several augmented copies.
            feature: Name of the trunk's feature.
        """
        super().__init__(store, features)
        self._light, self._feature = light, feature

    def _images(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        """Return the vectors (B, C) float32 of copies that are random by epoch and rows."""
        copies = np.random.default_rng([epoch, int(rows[0])]).integers(self._light.copies, size=len(rows))
        return self._light.read_features(rows, [self._feature], copies)[self._feature].values[:, 0]


def start_at_trunk(mixer: AnchoredMixer, encoder: FrozenTrunkEncoder, store: FeatureStore, exponent: float) -> None:
    """Initialise the anchor and the head with one whitening of the trunk's vectors, fitted on a store.

    Args:
        mixer: Mixer with the trunk's feature as its anchor.
        encoder: Query encoder without batch statistics.
        store: Store with the feature.
        exponent: See fit_partial_whitening.

    Raises:
        TooFewPhotographsError: The store has no more photographs than dimensions.
    """
    vectors = read_vectors(store, mixer.anchor_name).numpy()
    weight, bias = fit_partial_whitening(vectors, len(mixer.anchor_bias), exponent)
    mixer.set_anchor(weight, bias)
    with torch.no_grad():
        encoder.whitening.weight.copy_(weight)
        encoder.whitening.bias.copy_(bias)


def read_vectors(store: FeatureStore, feature: str) -> Tensor:
    """Return the vectors (N, C) of the readable photographs of a store, unchanged."""
    found = store.read_features(np.flatnonzero(store.readable), [feature])[feature]
    return found.values[:, 0]


class NoiseExtractor:
    """A useless extractor (finding 7): a random unit vector per photograph, seeded by its pixels."""

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
