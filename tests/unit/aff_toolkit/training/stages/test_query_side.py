"""Which weights a query encoder starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from aff_shared.bundles.bundle import ExtractorSpec, load_manifest
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.extractor_choice import ExtractorChoice
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder, QueryEncoder
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import BaseSection
from aff_toolkit.training.stages.pretraining import Pretraining
from aff_toolkit.training.stages.query_side import fit_partial_whitening, start_at_anchor, start_query_encoder
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer, build_mixer
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle
from tests.support.tiny_training import TinyTraining, tiny_recipe

SIZE = 48


def start(training: TinyTraining, *, backbone: str = "residual-8", **base: Any) -> QueryEncoder:
    settings = tiny_recipe().model_dump(exclude={"pretraining", "compact_cnn", "rootsift"})
    settings["query_encoder"] |= {"backbone": backbone, "optimisation": None}
    settings["base"] = BaseSection(bundle=training.bundle, **base)
    recipe = TrainingRecipe.model_validate(settings)
    store = FeatureStore.open(training.work / "features")
    return start_query_encoder(recipe, BaseBundle.open(training.bundle), store, cast("Pretraining", None))


@torch.no_grad()
def agreement(training: TinyTraining, encoder: QueryEncoder) -> float:
    """Mean cosine to what the bundle's own graph returns for the training photographs."""
    pixels = FeatureStore.open(training.work / "features").read_pixels(np.arange(8))
    served = OnnxQueryEncoder.load(training.bundle, training.manifest, threads=1).encode(list(pixels))
    return float((encoder.eval()(torch.from_numpy(pixels)).numpy() * served).sum(axis=1).mean())


@pytest.mark.parametrize("base", [{}, {"query_encoder": "start"}])
def test_it_continues_from_a_base_of_the_same_backbone(tiny_training: TinyTraining, base: dict[str, str]) -> None:
    assert agreement(tiny_training, start(tiny_training, **base)) > 0.99


@pytest.mark.parametrize("settings", [{"query_encoder": "new"}, {"backbone": "residual-16"}])
def test_another_backbone_or_a_new_encoder_starts_from_scratch(
    tiny_training: TinyTraining, settings: dict[str, str]
) -> None:
    assert agreement(tiny_training, start(tiny_training, **settings)) < 0.9


DEVIATIONS = np.array([4.0, 2.0, 1.0, 0.5])


def vectors(count: int = 4000) -> np.ndarray:
    """Points whose axes have these deviations, around a mean that is not 0."""
    return (np.random.default_rng(3).normal(size=(count, 4)) * DEVIATIONS + 5.0).astype(np.float32)


def mapped(exponent: float, dimension: int = 3) -> np.ndarray:
    points = vectors()
    weight, bias = fit_partial_whitening(points, dimension, exponent)
    return (torch.from_numpy(points) @ weight.T + bias).numpy()


def test_the_strongest_components_are_kept_and_centred() -> None:
    found = mapped(0.0)
    assert found.shape == (4000, 3)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-3)
    shares = found.std(axis=0) / found.std(axis=0)[0]
    np.testing.assert_allclose(shares, DEVIATIONS[:3] / DEVIATIONS[0], rtol=0.05)


def test_whole_whitening_weights_every_component_equally() -> None:
    deviations = mapped(0.5).std(axis=0)
    np.testing.assert_allclose(deviations, deviations[0], rtol=1e-3)


def test_half_of_the_whitening_leaves_the_root_of_the_deviations() -> None:
    deviations = mapped(0.25).std(axis=0)
    np.testing.assert_allclose(deviations / deviations[0], np.sqrt(DEVIATIONS[:3] / DEVIATIONS[0]), rtol=0.05)


def test_components_do_not_hang_together() -> None:
    correlation = np.corrcoef(mapped(0.35).T)
    np.testing.assert_allclose(correlation, np.eye(3), atol=1e-3)


def test_vectors_are_about_as_long_as_unit_vectors() -> None:
    assert np.linalg.norm(mapped(0.35), axis=1).mean() == pytest.approx(1.0, abs=1e-4)


def test_as_many_photographs_as_dimensions_are_too_few() -> None:
    with pytest.raises(TooFewPhotographsError, match="3 photographs"):
        fit_partial_whitening(vectors(3), 3, 0.35)


def light_extractor(directory: Path, **settings: Any) -> ExtractorSpec:
    recipe = {
        "kind": "efficientnet_lite",
        "name": "lite0",
        "variant": "lite0",
        "size": 224,
        "model": f"bundle:{PHOTOS_BUNDLE}",
    }
    choice: ExtractorChoice = TypeAdapter(ExtractorChoice).validate_python({**recipe, **settings})
    return choice.install(Installation(directory, "a recipe", 1, list))


@needs_photos_bundle
def test_an_anchor_takes_over_the_head_that_a_query_encoder_has_learned(tmp_path: Path) -> None:
    manifest = load_manifest(PHOTOS_BUNDLE)
    extractor = light_extractor(tmp_path, model=f"bundle:{PHOTOS_BUNDLE}", colour_weight=0.3)
    encoder = QUERY_BACKBONES["efficientnet-lite0-colour"].build(manifest.space.dimension)
    BaseBundle.open(PHOTOS_BUNDLE).load_query_encoder(encoder)
    mixer = build_mixer(extractor.features, manifest.mixer, manifest.space.dimension)
    assert isinstance(mixer, AnchoredMixer)
    assert isinstance(encoder.network, LightweightEncoder)
    head = encoder.network.whitening.weight.clone()
    assert start_at_anchor(mixer, encoder, cast("FeatureStore", None), extractor, 0.35, learned=True)
    torch.testing.assert_close(mixer.anchor_weight, head, rtol=0, atol=0)
    torch.testing.assert_close(encoder.network.whitening.weight, head, rtol=0, atol=0)
