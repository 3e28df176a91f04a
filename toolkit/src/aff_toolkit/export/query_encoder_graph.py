"""Writes a trained query encoder as an ONNX graph, in float32 or int8; only this module imports ONNX Runtime."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.quant_utils import QuantFormat, QuantType
from onnxruntime.quantization.quantize import quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from aff_toolkit.errors import QuantisationError
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.weights.half_weights import restore_weights
from query_api.embedding.onnx_query_encoder import ONNX_RUNTIME_ERRORS

_INPUT = "image"
_CONVOLUTION = "Conv"
_WHITENING = "Gemm"
_ERRORS: tuple[type[Exception], ...] = (ValueError, RuntimeError, *ONNX_RUNTIME_ERRORS)


def export_query_encoder(encoder: QueryEncoder, size: int, path: Path) -> None:
    """Write the ONNX graph: `image` (B, size, size, 3) uint8 in, `embedding` (B, D) unit float32 out."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    # The exporter warns that torchvision is missing, and uses deprecated parts of torch.
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
    """Remove the exporter's metadata from an ONNX file, which contains source paths of this machine."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def quantise_query_encoder(model: Path, batches: Iterable[NDArray[np.uint8]], path: Path) -> None:
    """Write the static int8 version of a float32 graph: QDQ form, weights per channel, ranges by calibration.

    The layers between the first and the last convolution and the whitening layer are quantised; the file contains
    little else. For the other layers float32 is more accurate and, in ONNX Runtime on the CPU, faster: the first
    convolution has only three input channels, and GeM computes powers. Weights use 7 of 8 bits: processors without VNNI
    add two products in 16 bits, which products of 8-bit weights exceed, and a file that passes on one machine has to
    pass on all.

    Args:
        model: Float32 graph that export_query_encoder wrote; its weights may be halved.
        batches: Photographs, (b, S, S, 3) uint8 each, for the ranges of the activations.
        path: Path of the int8 graph, whose inputs and outputs equal those of the float32 one.

    Raises:
        QuantisationError: There are no photographs, there is nothing to quantise, or ONNX Runtime fails.
    """
    try:
        with TemporaryDirectory() as directory:
            prepared, quantised = Path(directory, "prepared.onnx"), Path(directory, "quantised.onnx")
            # The quantiser reads weights only from initialisers.
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

    # ONNX Runtime declares a dict, and requires None at the end.
    def get_next(self) -> dict[str, NDArray[np.uint8]]:
        batch = next(self._batches, None)
        return None if batch is None else {_INPUT: batch}  # type: ignore[return-value]


def _outside_the_layers(graph: onnx.GraphProto) -> list[str]:
    """Return the names of nodes that are neither the whitening nor between the first and the last convolution.

    The last convolution counts as between them.
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
        raise QuantisationError("has no two successive convolutions, so there is nothing to quantise", item=graph.name)
    return [node.name for node in graph.node if node.name not in inside and node.op_type != _WHITENING]
