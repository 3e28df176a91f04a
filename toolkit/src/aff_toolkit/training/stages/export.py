"""Writes the models of a trained pair into the directory of a bundle."""

from __future__ import annotations

from pathlib import Path

from aff_shared.bundles.bundle import MixerSpec, QueryEncoderSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.models.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe
from aff_toolkit.training.stages.joint_training import TrainedPair
from aff_toolkit.weights.half_weights import halve_weights
from aff_toolkit.weights.released_weights import save_tensors

QUERY_ENCODER_FILE = "query_encoder.onnx"
INT8_QUERY_ENCODER_FILE = "query_encoder.int8.onnx"
MIXER_FILE = "mixer.safetensors"

# safetensors keeps what it writes from other users, and the services in containers run as one.
_READABLE = 0o644


def export_pair(pair: TrainedPair, recipe: TrainingRecipe, directory: Path) -> QueryEncoderSpec:
    """Write mixer and query encoder into `directory`, stored as the recipe asks; describe the query encoder."""
    stored = recipe.export.stored
    save_tensors(pair.mixer.state_dict(), directory / MIXER_FILE, stored)
    (directory / MIXER_FILE).chmod(_READABLE)
    size = recipe.query_encoder.input_size
    export_query_encoder(pair.query_encoder, size, directory / QUERY_ENCODER_FILE)
    if stored == "fp16":
        halve_weights(directory / QUERY_ENCODER_FILE)
    return QueryEncoderSpec(
        model=QUERY_ENCODER_FILE,
        architecture=QUERY_BACKBONES[recipe.query_encoder.backbone].architecture,
        preprocessing=Preprocessing(resize="stretch", size=size),
    )


def mixer_spec(recipe: TrainingRecipe) -> MixerSpec:
    """Describe the mixer that a recipe asks for."""
    return recipe.mixer.spec(MIXER_FILE)
