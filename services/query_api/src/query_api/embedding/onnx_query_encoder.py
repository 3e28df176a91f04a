"""The query encoder of a bundle in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession

from aff_shared.bundles.bundle import ServedManifest
from aff_shared.errors import BundleFormatError, EncoderError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from query_api.embedding.query_encoder import Precision, choose_precision, graph_path, query_encoder_of

_INPUT, _OUTPUT = "image", "embedding"
_UNIT_TOLERANCE = 1e-3

# ONNX Runtime's exceptions have no common base class; these are all that it defines.
ONNX_RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception)
)


class OnnxQueryEncoder:
    """Runs `image` (B, size, size, 3) uint8 -> `embedding` (B, D) float32, unit length, on the CPU.

    Attributes:
        precision: Precision of the graph that was loaded.
        decode_min_side: See QueryEncoder.
    """

    def __init__(self, session: InferenceSession, preprocessing: Preprocessing, precision: Precision) -> None:
        self._session = session
        self._preprocessing = preprocessing
        self.precision = precision
        self.decode_min_side = preprocessing.size

    @classmethod
    def load(
        cls,
        bundle_directory: Path,
        manifest: ServedManifest,
        *,
        threads: int,
        precision: Precision | Literal["auto"] = "auto",
    ) -> OnnxQueryEncoder:
        """Load the query side of a bundle whose files have been verified, and run it once to warm it up.

        Args:
            bundle_directory: Directory of the bundle.
            manifest: Its manifest.
            threads: Threads for one call of `encode`.
            precision: Which of its graphs; `auto` takes int8 where the bundle has it.

        Raises:
            BundleFormatError: Not an ONNX model, or not of the documented form.
            BundlePrecisionError: The bundle has no int8 graph, and nothing else will do.
            EncoderMissingError: It is an imported space without a query encoder.
        """
        spec = query_encoder_of(manifest)
        chosen = choose_precision(spec, precision)
        path = bundle_directory / graph_path(spec, chosen)
        return cls.open(path, spec.preprocessing, manifest.space.dimension, threads=threads, precision=chosen)

    @classmethod
    def open(
        cls, path: Path, preprocessing: Preprocessing, dimension: int, *, threads: int, precision: Precision = "fp32"
    ) -> OnnxQueryEncoder:
        """Load a graph without its bundle, and run it once to warm it up.

        Args:
            path: The graph.
            preprocessing: Preprocessing of photographs.
            dimension: D.
            threads: Threads for one call of `encode`.
            precision: Precision of the graph.

        Raises:
            BundleFormatError: Not an ONNX model, or not of the documented form.
        """
        model = path.name
        options = native.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Activations that fade to denormal numbers would take twenty times as long as zeros.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except ONNX_RUNTIME_ERRORS as error:
            raise BundleFormatError(f"ONNX Runtime cannot load it: {error}", item=model) from error
        size = preprocessing.size
        _require(session.get_inputs(), (_INPUT, "tensor(uint8)", [size, size, 3]), model)
        _require(session.get_outputs(), (_OUTPUT, "tensor(float)", [dimension]), model)
        encoder = cls(session, preprocessing, precision)
        # Two, and not square: what a graph with a fixed batch, or another resize than `stretch`, cannot take.
        grey = np.full((size, 2 * size, 3), 128, np.uint8)
        try:
            encoder.encode([grey, grey])
        except EncoderError as error:
            raise BundleFormatError(f"it fails on two grey photographs: {error}", item=model) from error
        return encoder

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See QueryEncoder."""
        batch = np.stack([preprocess(image, self._preprocessing) for image in images])
        try:
            (output,) = self._session.run([_OUTPUT], {_INPUT: batch})
        except ONNX_RUNTIME_ERRORS as error:
            raise EncoderError(f"ONNX Runtime failed: {error}") from error
        embeddings = np.asarray(output, np.float32)
        if not np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=_UNIT_TOLERANCE):
            raise EncoderError("the embedding is not a unit vector")
        return embeddings


def _require(ports: Sequence[native.NodeArg], expected: tuple[str, str, list[int]], item: str) -> None:
    """Raise unless the graph has this one port, whatever the length of its first axis, the batch."""
    found = [(port.name, port.type, list(port.shape[1:])) for port in ports]
    if found != [expected]:
        name, kind, shape = expected
        raise BundleFormatError(f"the graph has {found}, the contract is {name} {kind} (B, *{shape})", item=item)
