"""Writes a trained pair as a model bundle."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_model

from aff_contracts.bundle import MixerSpec, QueryEncoderSpec
from aff_contracts.preprocessing import Preprocessing
from aff_toolkit.training.joint_training import TrainedPair
from aff_toolkit.training.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import TrainingRecipe

QUERY_ENCODER_FILE = "query_encoder.onnx"
MIXER_FILE = "mixer.safetensors"

# safetensors keeps what it writes from other users, and the services in containers run as one.
_READABLE = 0o644


def export_pair(pair: TrainedPair, recipe: TrainingRecipe, directory: Path) -> QueryEncoderSpec:
    """Write mixer and query encoder into `directory`; describe the query encoder."""
    directory.mkdir(parents=True, exist_ok=True)
    save_model(pair.mixer, str(directory / MIXER_FILE))
    (directory / MIXER_FILE).chmod(_READABLE)
    size = recipe.query_encoder.input_size
    export_query_encoder(pair.query_encoder, size, directory / QUERY_ENCODER_FILE)
    return QueryEncoderSpec(
        model=QUERY_ENCODER_FILE,
        architecture=QUERY_BACKBONES[recipe.query_encoder.backbone].architecture,
        preprocessing=Preprocessing(resize="stretch", size=size),
    )


def export_query_encoder(encoder: QueryEncoder, size: int, path: Path) -> None:
    """Write the ONNX graph: `image` (B, size, size, 3) uint8 in, `embedding` (B, D) unit float32 out."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    # The exporter reports that torchvision is absent, and calls parts of torch that torch itself deprecates.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            encoder.eval(),
            (example,),
            path,
            input_names=["image"],
            output_names=["embedding"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    strip_traces(path)


def strip_traces(path: Path) -> None:
    """Take the exporter's notes out of an ONNX file: they hold source paths of the machine that exported it."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def mixer_spec(recipe: TrainingRecipe) -> MixerSpec:
    """Describe the mixer that a recipe asks for."""
    return MixerSpec(weights=MIXER_FILE, **recipe.mixer.model_dump())
