"""Quantises the ONNX graph of a query encoder to int8; the one file beside its encoder that knows ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from aff_toolkit.errors import QuantisationError
from aff_toolkit.export.export_query_encoder import strip_traces
from aff_toolkit.weights.half_weights import restore_weights
from query_api.embedding.onnx_query_encoder import ONNX_RUNTIME_ERRORS

_INPUT = "image"
_CONVOLUTION = "Conv"
_WHITENING = "Gemm"
_ERRORS: tuple[type[Exception], ...] = (ValueError, RuntimeError, *ONNX_RUNTIME_ERRORS)


def quantise_query_encoder(model: Path, batches: Iterable[NDArray[np.uint8]], path: Path) -> None:
    """Write the static int8 version of a float32 graph: QDQ form, weights per channel, ranges by calibration.

    What lies between the first convolution and the last is quantised, and the whitening layer, which is most of what
    else a file holds. Outside of it float32 is both better and, in ONNX Runtime on the CPU, faster: the first
    convolution reads three channels only, and GeM raises to a power. The weights take 7 of the 8 bits: processors
    without VNNI add two products in 16 bits, which those of 8 bits exceed, and a file that passed the gate on one
    machine has to pass on every other.

    Args:
        model: The float32 graph, written by export_query_encoder; its weights may be halved.
        batches: Photographs, (b, S, S, 3) uint8 each, that the ranges of the activations are taken from.
        path: Of the int8 graph; it takes and gives what the float32 one does.

    Raises:
        QuantisationError: No photographs, nothing to quantise, or ONNX Runtime cannot.
    """
    try:
        with TemporaryDirectory() as directory:
            prepared, quantised = Path(directory, "prepared.onnx"), Path(directory, "quantised.onnx")
            # The quantiser takes weights from initialisers alone.
            graph = restore_weights(onnx.load(model))
            quant_pre_process(graph, prepared, skip_symbolic_shape=True, skip_optimization=True)
            quantize_static(
                prepared,
                quantised,
                _Photographs(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_outside_the_layers(onnx.load(prepared).graph),
            )
            strip_traces(quantised)
            shutil.copyfile(quantised, path)
    except _ERRORS as error:
        raise QuantisationError(f"ONNX Runtime cannot quantise it: {error}", item=model.name) from error


class _Photographs(CalibrationDataReader):
    def __init__(self, batches: Iterable[NDArray[np.uint8]]) -> None:
        self._batches = iter(batches)

    # ONNX Runtime declares a dict, and asks for None at the end.
    def get_next(self) -> dict[str, NDArray[np.uint8]]:
        batch = next(self._batches, None)
        return None if batch is None else {_INPUT: batch}  # type: ignore[return-value]


def _outside_the_layers(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that neither lie between the first convolution and the last nor are the whitening.

    The last convolution itself lies between them.
    """
    behind: set[str] = set()
    for node in graph.node:
        if node.op_type == _CONVOLUTION or behind.intersection(node.input):
            behind.update(node.output)
    before: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == _CONVOLUTION or before.intersection(node.output):
            before.update(node.input)
    inside = {
        node.name
        for node in graph.node
        if behind.intersection(node.input) and (node.op_type == _CONVOLUTION or before.intersection(node.output))
    }
    if not inside:
        raise QuantisationError("holds no two convolutions in a row, and so nothing to quantise", item=graph.name)
    return [node.name for node in graph.node if node.name not in inside and node.op_type != _WHITENING]
