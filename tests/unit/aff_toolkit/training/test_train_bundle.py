"""From a recipe to a bundle."""

from __future__ import annotations

from aff_contracts.bundle import load_manifest, verify_files
from tests.support.tiny_training import TinyTraining, tiny_recipe


def test_a_recipe_gives_a_whole_bundle(tiny_training: TinyTraining) -> None:
    manifest = load_manifest(tiny_training.bundle)
    verify_files(tiny_training.bundle, manifest)
    assert manifest == tiny_training.manifest
    assert manifest.space.dimension == 16
    assert manifest.recipe == tiny_recipe().model_dump(mode="json")


def test_the_manifest_tells_what_was_measured_and_how(tiny_training: TinyTraining) -> None:
    scenes = tiny_training.manifest.metrics["scenes"]
    assert "4 landmarks x 1 queries and 2 gallery views, 3 distractors" in scenes["protocol"]
    assert set(scenes["scores"]) == {"asymmetric", "symmetric", "light_only"}
    for scores in scenes["scores"].values():
        assert 0.0 < scores["map"] <= 1.0
        assert (scores["queries"], scores["gallery"]) == (4, 4 * 2 + 3)


def test_the_manifest_tells_the_licence_of_the_weights(tiny_training: TinyTraining) -> None:
    assert len(tiny_training.manifest.licences) == 1
    assert "Apache-2.0" in tiny_training.manifest.licences[0]
