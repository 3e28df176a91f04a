"""The query encoder of a bundle in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession

from aff_contracts.bundle import BundleManifest
from aff_contracts.errors import BundleFormatError, EncoderError
from aff_contracts.preprocessing import Preprocessing, preprocess

_INPUT, _OUTPUT = "image", "embedding"
_UNIT_TOLERANCE = 1e-3

# ONNX Runtime's exceptions have no base of their own; these are all that it defines.
_ERRORS = tuple(kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception))


class OnnxQueryEncoder:
    """Runs `image` (B, size, size, 3) uint8 -> `embedding` (B, D) float32, unit length, on the CPU."""

    def __init__(self, session: InferenceSession, preprocessing: Preprocessing) -> None:
        self._session = session
        self._preprocessing = preprocessing
        self.decode_min_side = preprocessing.size

    @classmethod
    def load(cls, bundle_directory: Path, manifest: BundleManifest, *, threads: int) -> OnnxQueryEncoder:
        """Load the query side of a bundle whose files have been verified, and run it once to warm it up.

        Args:
            bundle_directory: Where the bundle lies.
            manifest: Its manifest.
            threads: Threads for one call of `encode`.

        Raises:
            BundleFormatError: Not an ONNX model, or not of the documented form.
        """
        spec = manifest.query_encoder
        options = native.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            session = InferenceSession(bundle_directory / spec.model, options, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise BundleFormatError(f"ONNX Runtime cannot load it: {error}", item=spec.model) from error
        size = spec.preprocessing.size
        _require(session.get_inputs(), (_INPUT, "tensor(uint8)", [size, size, 3]), spec.model)
        _require(session.get_outputs(), (_OUTPUT, "tensor(float)", [manifest.space.dimension]), spec.model)
        encoder = cls(session, spec.preprocessing)
        # Two, and not square: what a graph with a fixed batch, or another resize than `stretch`, cannot take.
        grey = np.full((size, 2 * size, 3), 128, np.uint8)
        try:
            encoder.encode([grey, grey])
        except EncoderError as error:
            raise BundleFormatError(f"it fails on two grey photographs: {error}", item=spec.model) from error
        return encoder

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See QueryEncoder."""
        batch = np.stack([preprocess(image, self._preprocessing) for image in images])
        try:
            (output,) = self._session.run([_OUTPUT], {_INPUT: batch})
        except _ERRORS as error:
            raise EncoderError(f"ONNX Runtime failed: {error}") from error
        embeddings = np.asarray(output, np.float32)
        if not np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=_UNIT_TOLERANCE):
            raise EncoderError("the embedding is no unit vector")
        return embeddings


def _require(ports: Sequence[native.NodeArg], wanted: tuple[str, str, list[int]], item: str) -> None:
    """Raise unless the graph has this one port, whatever the length of its first axis, the batch."""
    found = [(port.name, port.type, list(port.shape[1:])) for port in ports]
    if found != [wanted]:
        name, kind, shape = wanted
        raise BundleFormatError(f"the graph has {found}, the contract is {name} {kind} (B, *{shape})", item=item)
