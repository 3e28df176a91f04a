"""A bundle is measured with the encoders that are deployed."""

from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.evaluation.evaluate_bundle import evaluate_bundle
from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.evaluation.relevance import Relevance
from gallery_indexer.gallery_encoder import GalleryEncoder
from query_api.onnx_query_encoder import OnnxQueryEncoder
from tests.support.tiny_training import TinyTraining


def test_each_pairing_ranks_by_its_own_two_encoders(tiny_training: TinyTraining) -> None:
    protocol = scenes_protocol(instances=5, queries_each=1, gallery_each=1, distractors=4, difficulty=0.2)
    scores = evaluate_bundle(tiny_training.bundle, tiny_training.manifest, protocol)
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
    scores = evaluate_bundle(tiny_training.bundle, tiny_training.manifest, same)
    assert scores["symmetric"]["recall_at_1"] == 1.0
    assert scores["light_only"]["recall_at_1"] == 1.0
    assert scores["asymmetric"]["gallery"] == 40


def test_junk_of_a_protocol_is_taken_out_of_every_ranking(tiny_training: TinyTraining) -> None:
    gallery = scenes_protocol(instances=4, queries_each=0, gallery_each=1, distractors=0, difficulty=0.2).gallery
    # Each query finds itself first; with that one as junk, and every other one as positive, nothing can go wrong.
    others = [[row for row in range(4) if row != query] for query in range(4)]
    listed = Relevance.of(others, [[query] for query in range(4)])
    scores = evaluate_bundle(tiny_training.bundle, tiny_training.manifest, Protocol("x", "", gallery, gallery, listed))
    assert {name: one["map"] for name, one in scores.items()} == dict.fromkeys(scores, 1.0)
