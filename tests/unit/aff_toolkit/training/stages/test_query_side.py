"""Which weights a query encoder starts with."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.recipe.training_recipe import BaseSection, TrainingRecipe
from aff_toolkit.training.stages.pretraining import Pretraining
from aff_toolkit.training.stages.query_side import start_query_encoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
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
def test_it_goes_on_from_a_base_of_the_same_backbone(tiny_training: TinyTraining, base: dict[str, str]) -> None:
    assert agreement(tiny_training, start(tiny_training, **base)) > 0.99


@pytest.mark.parametrize("settings", [{"query_encoder": "new"}, {"backbone": "residual-16"}])
def test_another_backbone_or_a_new_encoder_starts_from_scratch(
    tiny_training: TinyTraining, settings: dict[str, str]
) -> None:
    assert agreement(tiny_training, start(tiny_training, **settings)) < 0.9
