"""From a recipe to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_shared.store.settings import StoreSettings
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings
from tests.support.gallery_points import make_point
from tests.support.images import png_bytes, quarters
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.query_service import QueryService
from tests.support.tiny_training import TinyTraining, tiny_recipe


def test_a_recipe_produces_a_whole_bundle(tiny_training: TinyTraining) -> None:
    manifest = load_manifest(tiny_training.bundle)
    verify_files(tiny_training.bundle, manifest)
    assert manifest == tiny_training.manifest
    assert manifest.space.dimension == 16
    assert manifest.recipe == tiny_recipe().model_dump(mode="json")


def test_the_manifest_states_what_was_measured_and_how(tiny_training: TinyTraining) -> None:
    scenes = tiny_training.manifest.metrics["scenes"]
    assert "4 landmarks x 1 queries and 2 gallery views, 3 distractors" in scenes["protocol"]
    assert set(scenes["scores"]) == {"asymmetric", "symmetric", "light_only", "asymmetric_int8"}
    for scores in scenes["scores"].values():
        assert 0.0 < scores["map"] <= 1.0
        assert (scores["queries"], scores["gallery"]) == (4, 4 * 2 + 3)
    levels = load_manifest(tiny_training.bundle).score_levels
    assert levels is not None
    assert (levels.queries, levels.gallery, levels.protocol) == (4, 4 * 2 + 3, scenes["protocol"])


def test_the_manifest_states_the_licence_of_the_weights(tiny_training: TinyTraining) -> None:
    assert len(tiny_training.manifest.licences) == 1
    assert "Apache-2.0" in tiny_training.manifest.licences[0]


@pytest.mark.anyio
@pytest.mark.parametrize("precision", ["fp32", "int8"])
async def test_the_query_service_serves_it_in_either_precision(
    precision: Literal["fp32", "int8"], tiny_training: TinyTraining, tmp_path: Path
) -> None:
    store = MemoryGalleryStore()
    await store.create(tiny_training.manifest.space)
    await store.upsert([make_point("one", [1.0] + [0.0] * 15, {})])
    stores = StoreSettings(url="", edge_path=tmp_path / "gallery")
    settings = QuerySettings(bundle_path=tiny_training.bundle, precision=precision, store=stores)
    async with QueryService(settings, tiny_training.manifest).running(store) as client:
        found = await client.post("/search", files={"image": ("q.png", png_bytes(quarters(64)), "image/png")})
    (hit,) = found.json()["hits"]
    encoder = OnnxQueryEncoder.load(tiny_training.bundle, tiny_training.manifest, threads=1, precision=precision)
    assert hit["score"] == pytest.approx(encoder.encode([quarters(64)])[0, 0], abs=1e-6)
