"""Writes a trained query encoder as an ONNX graph."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch

from aff_toolkit.models.query_encoder import QueryEncoder


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
