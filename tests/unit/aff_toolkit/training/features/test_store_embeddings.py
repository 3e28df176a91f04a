"""Photographs for the calibration: some that can be read, the same ones every time."""

from __future__ import annotations

import numpy as np

from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import CalibrationPhotographs, sample_readable
from tests.support.tiny_training import TinyTraining


def test_the_sample_is_drawn_by_its_seed_from_what_can_be_read(tiny_training: TinyTraining) -> None:
    store = FeatureStore.open(tiny_training.work / "features")
    store.readable[[3, 4]] = False
    rows = sample_readable(store, 20, seed=1)
    assert len(set(rows)) == 20
    assert rows.tolist() == sorted(rows)
    assert not {3, 4} & set(rows.tolist())
    np.testing.assert_array_equal(rows, sample_readable(store, 20, seed=1))
    assert rows.tolist() != sample_readable(store, 20, seed=2).tolist()
    assert len(sample_readable(store, 1000, seed=1)) == len(store) - 2


def test_photographs_come_at_the_side_of_the_encoder_and_can_be_gone_through_again(
    tiny_training: TinyTraining,
) -> None:
    store = FeatureStore.open(tiny_training.work / "features")
    rows, size = np.arange(len(store))[::-1][:35], Preprocessing(resize="stretch", size=24)
    photographs = CalibrationPhotographs(store, np.concatenate([rows, rows[:3]]), size)
    first, second = list(photographs), list(photographs)
    assert [len(batch) for batch in first] == [32, len(rows) + 3 - 32]
    for batch, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(batch, again)
    for row, found in zip(rows, np.concatenate(first), strict=False):
        np.testing.assert_array_equal(found, preprocess(store.read_pixels(np.asarray([row]))[0], size))
