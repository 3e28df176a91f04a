"""The query encoder that a training starts with."""

from __future__ import annotations

import torch
from torch import Tensor

from aff_toolkit.models.base_bundle import BaseBundle, bundle_of, is_bundled
from aff_toolkit.models.pretrained_trunk import load_pretrained_trunk
from aff_toolkit.models.query_backbones import QUERY_BACKBONES, query_backbone_of
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.features.calibration_photographs import sample_readable
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe
from aff_toolkit.training.stages.pretraining import Pretraining

_CALIBRATION_IMAGES = 256


def start_query_encoder(
    recipe: TrainingRecipe, base: BaseBundle | None, store: FeatureStore, pretraining: Pretraining
) -> QueryEncoder:
    """Build the recipe's query encoder: with the weights of the base, pretrained, or fresh.

    Args:
        recipe: Tells which.
        base: Whose ONNX graph the weights are taken from.
        store: Photographs that the weights of a bundle are calibrated on.
        pretraining: Trains it otherwise, where the recipe says so.

    Raises:
        BundleError: The query encoder of the base, or of the bundle that is named, is of another architecture; the
            bundle is missing or altered.
        ExtractorUnavailableError: The pretrained weights are not here, or are of another network.
        AffError: The pretraining cannot go on.
    """
    torch.manual_seed(recipe.seed)
    encoder = QUERY_BACKBONES[recipe.query_encoder.backbone].build(recipe.dimension)
    pretrained = recipe.query_encoder.pretrained
    if pretrained is not None and is_bundled(pretrained):
        bundle_of(pretrained).load_query_encoder(encoder, _calibration_images(recipe, store))
    elif pretrained is not None:
        load_pretrained_trunk(encoder, pretrained, recipe.query_encoder.revision)
    if base is not None and _starts_at(base, recipe):
        base.load_query_encoder(encoder, _calibration_images(recipe, store))
    elif recipe.query_encoder.optimisation is not None:
        pretraining.train_query_encoder(encoder, recipe.query_encoder.optimisation)
    return encoder


def _starts_at(base: BaseBundle, recipe: TrainingRecipe) -> bool:
    section, wanted = recipe.base, recipe.query_encoder
    if section is not None and section.query_encoder is not None:
        return section.query_encoder == "start"
    same = query_backbone_of(base.manifest) == wanted.backbone
    return same and wanted.pretrained is None and wanted.optimisation is None


def _calibration_images(recipe: TrainingRecipe, store: FeatureStore) -> Tensor:
    sample = sample_readable(store, _CALIBRATION_IMAGES, recipe.seed)
    return torch.from_numpy(store.read_pixels(sample))
