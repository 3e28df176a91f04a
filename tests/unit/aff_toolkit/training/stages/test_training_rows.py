"""Which rows of a store are trained on, and which choose the best weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aff_shared.errors import ImageError
from aff_toolkit.data.photograph import Load, Photograph
from aff_toolkit.data.photograph_source import ScenesSource
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.evaluation.retrieval_scores import average_precision_at
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.training_rows import (
    Validation,
    describe_groups,
    group_rows,
    labelled_rows,
    unlabelled_rows,
)
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from tests.support.tiny_training import TinyTraining, tiny_recipe


def refuse() -> np.ndarray:
    raise ImageError("damaged")


def grey() -> np.ndarray:
    return np.full((32, 32, 3), 90, np.uint8)


def store_of(directory: Path, *shown: tuple[str, Load]) -> FeatureStore:
    photographs = [Photograph(f"{row}.jpg", instance, load) for row, (instance, load) in enumerate(shown)]
    settings = StoreSettings(pixel_size=48)
    return extract_features(photographs, ExtractorSet(), lambda _: {}, directory, settings, lambda _: None)


def recipe(validation_share: float, **changes: object) -> TrainingRecipe:
    tiny = tiny_recipe()
    joint = tiny.joint.model_copy(update={"validation_share": validation_share, **changes})
    return tiny.model_copy(update={"joint": joint})


def test_an_instance_of_which_one_photograph_can_be_read_is_left_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, ("a", grey), ("a", grey), ("b", grey), ("b", refuse))
    rows, single = labelled_rows(store, recipe(0.0))
    assert rows.instances == ["a", "a", "", ""]
    assert single == ["b"]
    assert rows.validation is None


def test_an_instance_of_one_photograph_is_kept_if_the_recipe_does_unless_it_cannot_be_read(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, ("a", grey), ("a", grey), ("b", grey), ("b", refuse), ("c", refuse))
    rows, single = labelled_rows(store, recipe(0.0, single_photographs="keep"))
    assert rows.instances == ["a", "a", "b", "", ""]
    assert single == ["c"]


def test_an_instance_of_which_nothing_can_be_read_is_named_among_those_left_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, ("a", grey), ("a", grey), ("b", grey), ("c", refuse), ("c", refuse))
    _, left_out = labelled_rows(store, recipe(0.0))
    assert left_out == ["b", "c"]


def test_instances_of_one_photograph_that_are_kept_are_not_held_out(tmp_path: Path) -> None:
    pairs = [(f"thing-{n // 2}", grey) for n in range(40)]
    store = store_of(tmp_path, *pairs, *[(f"alone-{n}", grey) for n in range(40)])
    rows, _ = labelled_rows(store, recipe(0.3, single_photographs="keep"))
    trained_on = Counter(name for name in rows.instances if name)
    assert {name for name in trained_on if name.startswith("alone")} == {f"alone-{n}" for n in range(40)}
    assert sum(name.startswith("thing") for name in trained_on) == 14
    assert rows.validation is not None
    assert len(rows.validation.queries) == len(rows.validation.gallery) == 6


def test_whole_instances_are_held_out_half_of_each_as_queries(tmp_path: Path) -> None:
    store = store_of(tmp_path, *[(f"thing-{n // 4}", grey) for n in range(80)])
    rows, _ = labelled_rows(store, recipe(0.3))
    trained_on = {name for name in rows.instances if name}
    assert rows.validation is not None
    held_out = [store.instances[row] for row in (*rows.validation.queries, *rows.validation.gallery)]
    assert len(trained_on) == 14
    assert trained_on.isdisjoint(held_out)
    assert Counter(held_out) == Counter({f"thing-{n}": 4 for n in range(20) if f"thing-{n}" not in trained_on})
    assert len(rows.validation.queries) == 12


def test_of_few_instances_none_is_held_out(tmp_path: Path) -> None:
    store = store_of(tmp_path, *[(f"thing-{n // 2}", grey) for n in range(24)])
    rows, _ = labelled_rows(store, recipe(0.3))
    assert rows.validation is None
    assert "" not in rows.instances


def test_when_nothing_can_be_read_the_first_reason_is_reported(tmp_path: Path) -> None:
    store = store_of(tmp_path, ("a", refuse), ("a", refuse))
    with pytest.raises(TooFewPhotographsError, match=r"2 of 2 cannot be read, the first: 0\.jpg: damaged"):
        labelled_rows(store, recipe(0.1))


def test_without_labels_groups_and_single_photographs_are_instances_and_some_photographs_are_held_out(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, *[(f"{n}.jpg", grey) for n in range(30)], ("30.jpg", refuse))
    groups = np.array([0, 0, 0, *range(1, 29)])
    rows = unlabelled_rows(store, groups, recipe(0.2))
    assert rows.validation is not None
    requested = set(rows.validation.queries.tolist())
    assert len(requested) == 6
    assert rows.validation.augmented
    assert set(rows.validation.gallery.tolist()) == set(range(30))
    for row, instance in enumerate(rows.instances):
        expected = "" if row in requested or row == 30 else ("group-0" if row < 3 else f"{row}.jpg")
        assert instance == expected


def test_views_of_a_scene_are_grouped_by_a_finished_bundle(tiny_training: TinyTraining, tmp_path: Path) -> None:
    base = BaseBundle.open(tiny_training.bundle)
    encoder = GalleryEncoder.load(base.directory, base.manifest, device="cpu")
    scenes = ScenesSource(instances=4, views=1).photographs()
    # Every scene is listed twice, and one photograph cannot be read.
    photographs = [*scenes, Photograph("broken", "broken", refuse), *scenes]
    extractors = ExtractorSet.of_directory(base.manifest.extractors, base.directory)
    settings = StoreSettings(pixel_size=48, copies=2)
    store = extract_features(photographs, extractors, encoder.extract, tmp_path / "s", settings, lambda _: None)
    groups = group_rows(store, base.load_mixer(), PseudoInstancesSection(min_similarity=0.9999), 1)
    assert groups[:4] == groups[5:]
    assert len(set(groups)) == 5
    calibrated = group_rows(store, base.load_mixer(), PseudoInstancesSection(), 1)
    assert calibrated[:4] == calibrated[5:]


def test_groups_are_described_and_rejected_where_there_are_hardly_any() -> None:
    assert describe_groups([1, 1, 2, 3, 3, 3]) == "5 photographs are in 2 groups, 1 are single"
    with pytest.raises(TooFewPhotographsError, match="2 of 100 photographs are similar to another"):
        describe_groups([0, 0, *range(1, 99)])


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
        precisions.append(average_precision_at(np.flatnonzero(relevant), int(relevant.sum())))
    assert found == {"asymmetric_map": pytest.approx(np.mean(precisions))}


def test_augmented_queries_are_the_same_at_every_validation_and_not_the_photographs(
    store: FeatureStore, mixer: nn.Module
) -> None:
    rows, labels = np.arange(12), np.asarray(store.names)
    encoder = MeanColours()
    augmented = Validation(store, rows, rows, labels, 48, augmented=True)
    assert augmented.scores(mixer, encoder) == augmented.scores(mixer, encoder)
    assert augmented.scores(mixer, encoder) != Validation(store, rows, rows, labels, 48, False).scores(mixer, encoder)
