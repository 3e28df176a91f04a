"""Validation by held-out rows of a store, and which rows those are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aff_toolkit.evaluation.retrieval_scores import average_precision
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.engine.validation import Validation
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import embed_rows
from tests.support.tiny_training import TinyTraining


@pytest.fixture(scope="module")
def store(tiny_training: TinyTraining) -> FeatureStore:
    return FeatureStore.open(tiny_training.work / "features")


@pytest.fixture(scope="module")
def mixer(tiny_training: TinyTraining) -> nn.Module:
    return BaseBundle.open(tiny_training.bundle).load_mixer()


class MeanColours(nn.Module):
    """Embeds a photograph by the mean colour of each quarter, repeated to 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float() - 128, 2).flatten(1)
        return nn.functional.normalize(torch.cat([quarters, quarters[:, :4]], dim=1), dim=1)


def test_rows_are_embedded_one_as_the_other_whatever_their_batch(store: FeatureStore, mixer: nn.Module) -> None:
    rows = np.array([7, 0, 30])
    together = embed_rows(store, rows, mixer)
    for row, embedding in zip(rows, together, strict=True):
        np.testing.assert_allclose(embed_rows(store, np.array([row]), mixer)[0], embedding, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


def test_the_score_is_the_mean_average_precision_of_queries_against_the_gallery(
    store: FeatureStore, mixer: nn.Module
) -> None:
    queries, gallery = np.array([0, 4, 8]), np.array([1, 2, 5, 9, 10, 12])
    encoder = MeanColours()
    labels = np.asarray(store.instances)
    found = Validation(store, queries, gallery, labels, 48, augmented=False).scores(mixer, encoder)
    g = embed_rows(store, gallery, mixer)
    precisions = []
    for query in queries:
        q = encoder(torch.from_numpy(store.read_pixels(np.array([query]))))[0].numpy()
        ranking = sorted(range(len(gallery)), key=lambda i, q=q: -float(g[i] @ q))
        relevant = np.array([store.instances[gallery[i]] == store.instances[query] for i in ranking])
        precisions.append(average_precision(relevant, int(relevant.sum())))
    assert found == {"asymmetric_map": pytest.approx(np.mean(precisions))}


def test_augmented_queries_are_the_same_at_every_validation_and_not_the_photographs(
    store: FeatureStore, mixer: nn.Module
) -> None:
    rows, labels = np.arange(12), np.asarray(store.names)
    encoder = MeanColours()
    augmented = Validation(store, rows, rows, labels, 48, augmented=True)
    assert augmented.scores(mixer, encoder) == augmented.scores(mixer, encoder)
    assert augmented.scores(mixer, encoder) != Validation(store, rows, rows, labels, 48, False).scores(mixer, encoder)
