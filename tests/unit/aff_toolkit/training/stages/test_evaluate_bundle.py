"""A bundle is measured with the encoders that are deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.stages.evaluate_bundle import BundleAt, StoredFeatures, evaluate_bundles
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.other_mixer import write_other_mixer
from tests.support.tiny_training import TinyTraining, tiny_recipe


def evaluate(training: TinyTraining, protocol: Protocol) -> dict[str, Any]:
    """Return the scores of the finished training's bundle."""
    (found,) = evaluate_bundles([BundleAt(training.bundle, training.manifest)], protocol)
    return found.scores


def test_each_pairing_ranks_by_its_own_two_encoders(tiny_training: TinyTraining) -> None:
    protocol = scenes_protocol(instances=5, queries_each=1, gallery_each=1, distractors=4, difficulty=0.2)
    scores = evaluate(tiny_training, protocol)
    heavy = GalleryEncoder.load(tiny_training.bundle, tiny_training.manifest, device="cpu").encode
    light, int8 = (
        OnnxQueryEncoder.load(tiny_training.bundle, tiny_training.manifest, threads=1, precision=precision).encode
        for precision in ("fp32", "int8")
    )
    pairings = {
        "asymmetric": (light, heavy),
        "symmetric": (heavy, heavy),
        "light_only": (light, light),
        "asymmetric_int8": (int8, heavy),
    }
    assert set(scores) == set(pairings)
    for name, (encode_query, encode_gallery) in pairings.items():
        gallery = [encode_gallery([photograph.load()])[0] for photograph in protocol.gallery]
        reciprocal_ranks = []
        for row, query in enumerate(protocol.queries):
            q = encode_query([query.load()])[0]
            cosines = [float(q @ g) for g in gallery]
            rank = 1 + sum(cosine > cosines[row] for cosine in cosines)
            reciprocal_ranks.append(1 / rank)
        assert scores[name]["map"] == pytest.approx(np.mean(reciprocal_ranks)), name


def test_photographs_that_are_in_the_gallery_are_found_by_the_encoder_that_embedded_them(
    tiny_training: TinyTraining,
) -> None:
    gallery = scenes_protocol(instances=40, queries_each=0, gallery_each=1, distractors=0, difficulty=0.2).gallery
    same = Protocol("same", "queries are the gallery", gallery, gallery)
    scores = evaluate(tiny_training, same)
    assert scores["symmetric"]["recall_at_1"] == 1.0
    assert scores["light_only"]["recall_at_1"] == 1.0
    assert scores["asymmetric"]["gallery"] == 40


def test_junk_of_a_protocol_is_taken_out_of_every_ranking(tiny_training: TinyTraining) -> None:
    gallery = scenes_protocol(instances=4, queries_each=0, gallery_each=1, distractors=0, difficulty=0.2).gallery
    # Each query finds itself first; with that one as junk, and every other one as positive, nothing can go wrong.
    others = [[row for row in range(4) if row != query] for query in range(4)]
    listed = Relevance.of(others, [[query] for query in range(4)])
    scores = evaluate(tiny_training, Protocol("x", "", gallery, gallery, listed))
    assert {name: one["map"] for name, one in scores.items()} == dict.fromkeys(scores, 1.0)


def test_bundles_of_the_same_extractors_are_measured_together_as_they_are_alone(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    protocol = scenes_protocol(instances=20, queries_each=1, gallery_each=1, distractors=20, difficulty=0.2)
    fresh = write_other_mixer(tiny_training.bundle, tmp_path / "other", name="other")
    bundles = [BundleAt(tiny_training.bundle, tiny_training.manifest), BundleAt(tmp_path / "other", fresh)]
    together = [found.scores for found in evaluate_bundles(bundles, protocol)]
    alone = [evaluate_bundles([bundle], protocol)[0].scores for bundle in bundles]
    assert together == alone
    assert together[0]["symmetric"] != together[1]["symmetric"]


def test_each_query_has_its_own_figures_whose_means_are_those_of_all(tiny_training: TinyTraining) -> None:
    protocol = scenes_protocol(instances=5, queries_each=1, gallery_each=1, distractors=4, difficulty=0.2)
    unfindable = Protocol("x", "", [*protocol.queries, *protocol.gallery[-1:]], protocol.gallery[:-1])
    (found,) = evaluate_bundles([BundleAt(tiny_training.bundle, tiny_training.manifest)], unfindable)
    assert found.asymmetric.queries.tolist() == [0, 1, 2, 3, 4]
    assert found.asymmetric.average_precisions.mean() == pytest.approx(found.scores["asymmetric"]["map"])
    assert found.asymmetric.found_first.mean() == pytest.approx(found.scores["asymmetric"]["recall_at_1"])


def test_features_that_are_in_a_store_are_not_extracted_again(
    tiny_training: TinyTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_recipe().joint.sources[0]
    photographs = source.load()
    stored = StoredFeatures.of(FeatureStore.open(tiny_training.work / "features"), photographs)
    queries = scenes_protocol(instances=2, queries_each=1, gallery_each=0, distractors=0, difficulty=0.2).queries
    requested = [replace(query, instance=photographs[0].instance) for query in queries]
    protocol, bundle = Protocol("x", "", requested, photographs), BundleAt(tiny_training.bundle, tiny_training.manifest)
    (fresh,) = evaluate_bundles([bundle], protocol)
    extracted = []
    extract = GalleryEncoder.extract
    monkeypatch.setattr(
        GalleryEncoder, "extract", lambda self, images: (extracted.append(len(images)), extract(self, images))[1]
    )
    (found,) = evaluate_bundles([bundle], protocol, stored)
    assert sum(extracted) == 2
    for pairing, scores in fresh.scores.items():  # the store keeps half precision
        assert found.scores[pairing]["map"] == pytest.approx(scores["map"], abs=0.05)
