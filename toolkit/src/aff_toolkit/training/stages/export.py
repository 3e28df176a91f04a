"""The models of a bundle: written, compared with the trained networks, and quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import BundleManifest, MixerSpec, QueryEncoderSpec
from aff_shared.errors import BundleFormatError, EncoderError
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.errors import ExportMismatchError, QuantisationError
from aff_toolkit.export.export_gate import CosineFigures, Encode, compare_embeddings, require_same_embeddings
from aff_toolkit.export.query_encoder_graph import export_query_encoder, quantise_query_encoder
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.features.feature_store import CalibrationPhotographs
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.weights.half_weights import halve_weights
from aff_toolkit.weights.released_weights import save_tensors
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.embedding.query_encoder import Precision

QUERY_ENCODER_FILE = "query_encoder.onnx"
INT8_QUERY_ENCODER_FILE = "query_encoder.int8.onnx"
MIXER_FILE = "mixer.safetensors"

# safetensors writes files that other users cannot read; services in containers run as another user.
_READABLE = 0o644
_THREADS = 2


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A gallery mixer and the query encoder that was trained with it, in evaluation mode, on the CPU.

    Attributes:
        prototypes: (C, D) float32, w_mix at the end of the training.
        instances: Names of the C instances of the prototypes.
        steps: Number of steps after which the weights were saved, and number of all steps, by stage.
    """

    mixer: nn.Module
    query_encoder: QueryEncoder
    prototypes: Tensor
    instances: tuple[str, ...]
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def export_pair(pair: TrainedPair, recipe: TrainingRecipe, directory: Path) -> QueryEncoderSpec:
    """Write mixer and query encoder into `directory`, and return the specification of the query encoder."""
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
    """Return the specification of a recipe's mixer."""
    return recipe.mixer.spec(MIXER_FILE)


@dataclass(frozen=True, slots=True)
class QueryGraphs:
    """A float32 graph in the directory of a bundle, and the int8 graph that is derived from it.

    Attributes:
        manifest: Manifest that names both graphs; files are not verified.
        photographs: Training photographs.
    """

    directory: Path
    manifest: BundleManifest
    photographs: CalibrationPhotographs

    def require_trained_network(self, trained: QueryEncoder, min_cosine: float) -> CosineFigures:
        """Compare the float32 graph with the exported network, and delete it if they differ.

        Raises:
            ExportMismatchError: See require_same_embeddings; or the graph's outputs are not unit vectors.
        """
        path = self.directory / QUERY_ENCODER_FILE
        try:
            exported = self._load("fp32")
            return require_same_embeddings(_encode_in_torch(trained), exported, self.photographs, min_cosine)
        except (BundleFormatError, EncoderError, ExportMismatchError) as error:
            path.unlink()
            raise ExportMismatchError(error.detail, item=path.name) from error

    def quantise(self) -> CosineFigures:
        """Write the int8 graph, and compare it with the float32 one.

        Raises:
            QuantisationError: The graph cannot be quantised, or its outputs are not unit vectors.
        """
        path = self.directory / INT8_QUERY_ENCODER_FILE
        quantise_query_encoder(self.directory / QUERY_ENCODER_FILE, self.photographs, path)
        try:
            return compare_embeddings(self._load("fp32"), self._load("int8"), self.photographs)
        except (BundleFormatError, EncoderError) as error:
            raise QuantisationError(error.detail, item=path.name) from error

    def drop_int8(self) -> None:
        """Delete the int8 graph, if any."""
        (self.directory / INT8_QUERY_ENCODER_FILE).unlink(missing_ok=True)

    def _load(self, precision: Precision) -> Encode:
        return OnnxQueryEncoder.load(self.directory, self.manifest, threads=_THREADS, precision=precision).encode


def _encode_in_torch(encoder: QueryEncoder) -> Encode:
    @torch.inference_mode()
    def encode(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = encoder(torch.from_numpy(np.stack(images))).numpy()
        return embeddings

    return encode
