"""A query encoder as other tools export it: planes of normalised floats in, vectors of any length out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.tiny_query_encoder import DIMENSION, SIZE

WEIGHTS = np.random.default_rng(1).standard_normal((3, DIMENSION)).astype(np.float32)


def write_foreign_encoder(
    path: Path, *, kind: TensorProto.DataType = TensorProto.FLOAT, size: int | str = SIZE, outputs: int = 1
) -> Path:
    """Write the graph: mean colour by WEIGHTS, with `outputs` outputs of the shape of vectors and one of another."""
    numbers = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "image"], ["image_embeds"]),
        helper.make_node("Identity", ["image_embeds"], ["other"]),
    ]
    names = ["image_embeds", "other"][:outputs]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("pixel_values", kind, ["batch", 3, size, size])],
        [
            helper.make_tensor_value_info("last_hidden_state", kind, ["batch", 3, 1, 1]),
            *(helper.make_tensor_value_info(name, kind, ["batch", DIMENSION]) for name in names),
        ],
        [numpy_helper.from_array(WEIGHTS.astype(numbers), "image")],  # the name of our input
    )
    graph.node.append(helper.make_node("Identity", ["mean"], ["last_hidden_state"]))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
