"""Takes out of an ONNX file what tells of the machine that wrote it."""

from __future__ import annotations

from pathlib import Path

import onnx


def strip_traces(path: Path) -> None:
    """Take the exporter's notes out of an ONNX file: they hold source paths of the machine that exported it."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
