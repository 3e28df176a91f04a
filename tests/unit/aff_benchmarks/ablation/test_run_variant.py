"""Query encoders with a frozen trunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aff_benchmarks.ablation.run_variant import FrozenTrunkEncoder, FrozenTrunkSet, start_at_trunk
from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec, MixerSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer, build_mixer

TRUNK = FeatureSpec(name="trunk", kind="global", dimension=3, max_tokens=1)
PHOTOGRAPHS = 12


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store of grey photographs in four copies; the vector of a photograph is its mean colour."""
    grey = Preprocessing(resize="stretch", size=16)
    spec = ExtractorSpec(name="t", family="t", preprocessing=grey, features=(TRUNK,), weights_source="none")

    def photograph(row: int) -> Photograph:
        pixels = np.random.default_rng(row).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        return Photograph(name=f"{row}", instance=f"thing-{row % 4}", load=lambda: pixels)

    def extract(images: Images) -> dict[str, FeatureBatch]:
        means = np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)
        return {"trunk": FeatureBatch.from_global(torch.from_numpy(means))}

    photographs = [photograph(row) for row in range(PHOTOGRAPHS)]
    settings = StoreSettings(copies=4, augmented_size=32)
    return extract_features(photographs, ExtractorSet((spec,)), extract, tmp_path, settings, lambda _: None)


def test_the_query_encoder_trains_on_vectors_of_copies_that_differ_between_epochs(store: FeatureStore) -> None:
    photographs = FrozenTrunkSet(store, ["trunk"], store, "trunk")
    numbers = torch.arange(PHOTOGRAPHS)
    first, again, next_one = (photographs[epoch, numbers].pixels for epoch in (0, 0, 1))
    versions = torch.stack([store.read_features(numbers.numpy(), copies=c)["trunk"].values[:, 0] for c in range(4)])
    assert first.equal(again)
    assert not first.equal(next_one)
    for row, vector in enumerate(first):
        assert any(vector.equal(version) for version in versions[:, row])


def test_anchor_and_head_are_initialised_with_one_whitening(store: FeatureStore) -> None:
    mixer = build_mixer((TRUNK,), MixerSpec(weights="m", layers=1, heads=1, anchor="trunk"), 2).eval()
    encoder = FrozenTrunkEncoder(3, 2, normalises_embeddings=False).eval()
    assert isinstance(mixer, AnchoredMixer)
    start_at_trunk(mixer, encoder, store, 0.5)
    features = store.read_features(np.arange(PHOTOGRAPHS))
    embeddings = encoder(features["trunk"].values[:, 0])
    torch.testing.assert_close(embeddings, mixer(features))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(PHOTOGRAPHS))
