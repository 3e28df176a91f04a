"""Photographs that resemble each other become one instance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.training.engine import pseudo_instances
from aff_toolkit.training.engine import pseudo_instances as untrained_fusion
from aff_toolkit.training.engine.pseudo_instances import fit_untrained_fusion, group_photographs, name_pseudo_instances
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images


def directions(*degrees: float) -> NDArray[np.float32]:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def partition(groups: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def test_neighbours_above_the_bound_are_grouped_and_the_others_are_alone() -> None:
    groups = group_photographs(directions(0, 5, 90, 95, 200), 2, min_similarity=np.cos(np.deg2rad(10)))
    assert partition(groups) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4})}


def test_a_chain_is_cut_where_its_ends_resemble_each_other_no_more() -> None:
    # 0 and 23 degrees hang together by neighbours; the mean cosine of the two halves is below the bound.
    groups = group_photographs(directions(0, 7, 16, 23), 2, min_similarity=np.cos(np.deg2rad(10)))
    assert partition(groups) == {frozenset({0, 1}), frozenset({2, 3})}


def test_a_neighbour_that_has_nearer_ones_itself_does_not_count() -> None:
    # The nearest neighbour of 6 degrees is 3 degrees, whose own nearest is 2 degrees.
    groups = group_photographs(directions(0, 2, 3, 6.5), 1, min_similarity=0.9)
    assert partition(groups) == {frozenset({0}), frozenset({1, 2}), frozenset({3})}


@pytest.mark.parametrize("limit", [3, 2000])
def test_a_component_too_large_for_linkage_is_cut_by_a_stricter_bound(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(pseudo_instances, "_MOST_LINKED", limit)
    groups = group_photographs(directions(0, 1, 2, 30, 31, 32), 5, min_similarity=0.6)
    expected = {frozenset({0, 1, 2}), frozenset({3, 4, 5})} if limit == 3 else {frozenset(range(6))}
    assert partition(groups) == expected


def test_thousands_of_equal_photographs_are_grouped_in_finite_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_instances, "_MOST_LINKED", 4)
    groups = group_photographs(directions(*[7.0] * 10), 9, min_similarity=0.5)
    assert sorted(len(members) for members in partition(groups)) == [2, 4, 4]


def test_a_photograph_that_is_alone_is_a_separate_instance() -> None:
    assert name_pseudo_instances(["a.jpg", "b.jpg", "c.jpg"], np.array([4, 0, 4])) == ["group-4", "b.jpg", "group-4"]


PHOTOGRAPHS = 24


def extractor(name: str, **dimensions: int) -> ExtractorSpec:
    """An extractor with a feature of each kind named, of that many channels."""
    features = [
        FeatureSpec(name=f"{name}_{kind}", kind=kind, dimension=dimension, max_tokens=1 if kind == "global" else 3)
        for kind, dimension in dimensions.items()
    ]
    scaling = Preprocessing(resize="stretch", size=32)
    return ExtractorSpec(
        name=name, family="rootsift", preprocessing=scaling, features=tuple(features), weights_source="a test"
    )


BOTH = extractor("both", **{"global": 6, "local": 4})
TOKENS = extractor("tokens", local=5)
RANDOM = np.random.default_rng(0)
WHOLE = RANDOM.normal(1.0, 1.0, (PHOTOGRAPHS, 6)).astype(np.float16).astype(np.float32)
LOCAL = RANDOM.normal(0.5, 1.0, (PHOTOGRAPHS, 3, 5)).astype(np.float16).astype(np.float32)
COUNTS = np.array([number % 3 + 1 for number in range(PHOTOGRAPHS)])
COUNTS[7] = 0  # of this one the second extractor finds nothing


def features_of(images: Images) -> dict[str, FeatureBatch]:
    rows = np.array([image[0, 0, 0] for image in images])
    mask = torch.from_numpy(np.arange(3) < COUNTS[rows][:, None])
    return {
        "both_global": FeatureBatch.from_global(torch.from_numpy(WHOLE[rows])),
        "both_local": FeatureBatch(torch.ones(len(rows), 3, 4), torch.ones(len(rows), 3, dtype=torch.bool)),
        "tokens_local": FeatureBatch(torch.from_numpy(LOCAL[rows]) * mask[..., None], mask),
    }


def store_in(directory: Path) -> FeatureStore:
    def shown(number: int) -> np.ndarray:
        return np.full((32, 32, 3), number, np.uint8)

    photographs = [Photograph(str(n), str(n), lambda n=n: shown(n)) for n in range(PHOTOGRAPHS)]
    extractors = ExtractorSet((BOTH, TOKENS))
    return extract_features(photographs, extractors, features_of, directory, StoreSettings(), lambda _: None)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def whitened(vectors: list[np.ndarray], components: int) -> list[np.ndarray]:
    """Whiten by the eigenvectors of the covariance matrix, summed pair by pair of channels."""
    mean = sum(vectors) / len(vectors)
    channels = range(len(mean))
    covariance = np.array(
        [
            [sum((v[i] - mean[i]) * (v[j] - mean[j]) for v in vectors) / (len(vectors) - 1) for j in channels]
            for i in channels
        ]
    )
    variances, directions = np.linalg.eigh(covariance)
    strongest = np.argsort(-variances)[:components]
    return [
        unit(np.array([(v - mean) @ directions[:, one] / np.sqrt(variances[one]) for one in strongest]))
        for v in vectors
    ]


def test_extractors_count_equally_by_their_whitened_global_feature_or_the_mean_of_their_tokens(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    fusion = fit_untrained_fusion(store, [BOTH, TOKENS], seed=1)
    found = fusion(store.read_features(np.arange(PHOTOGRAPHS))).numpy()
    components = PHOTOGRAPHS // 8
    first = whitened([unit(row.astype(np.float64)) for row in WHOLE], components)
    seen = [row for row in range(PHOTOGRAPHS) if COUNTS[row]]
    means = [unit(np.mean(LOCAL[row, : COUNTS[row]].astype(np.float64), axis=0)) for row in seen]
    second = dict(zip(seen, whitened(means, len(seen) // 8), strict=True))
    for one in range(PHOTOGRAPHS):
        for other in range(PHOTOGRAPHS):
            cosines = [first[one] @ first[other]]
            weights = [1.0, 1.0]
            if one in second and other in second:
                cosines.append(second[one] @ second[other])
            for place, row in enumerate((one, other)):
                weights[place] = np.sqrt(1.0 + (row in second))
            assert found[one] @ found[other] == pytest.approx(sum(cosines) / np.prod(weights), abs=2e-3)


def test_it_is_fitted_on_as_many_components_as_the_photographs_bear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    monkeypatch.setattr(untrained_fusion, "_PHOTOGRAPHS_PER_COMPONENT", 1)
    # Six channels of unit length span six dimensions, five of mean tokens five.
    (first, second) = fit_untrained_fusion(store, [BOTH, TOKENS], seed=1).extractors
    assert (first.features, len(first.whitening.projection)) == (("both_global",), 6)
    assert (second.features, len(second.whitening.projection)) == (("tokens_local",), 5)
    monkeypatch.setattr(untrained_fusion, "_MOST_COMPONENTS", 2)
    assert {len(one.whitening.projection) for one in fit_untrained_fusion(store, [BOTH, TOKENS], 1).extractors} == {2}


def test_an_extractor_that_finds_the_same_everywhere_is_ignored_and_alone_is_rejected(tmp_path: Path) -> None:
    store, same = store_in(tmp_path), extractor("both", local=4)
    (only,) = fit_untrained_fusion(store, [same, TOKENS], seed=1).extractors
    assert only.features == ("tokens_local",)
    with pytest.raises(TooFewPhotographsError, match="24 photographs are too few or too similar"):
        fit_untrained_fusion(store, [same], seed=1)
