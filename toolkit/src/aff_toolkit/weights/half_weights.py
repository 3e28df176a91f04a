"""Stores the weights of an ONNX graph in half precision, and restores single precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_CAST = "Cast"
_SUFFIX = "_float16"
Stored = Literal["fp32", "fp16"]
# Maximum number of elements of a tensor that stays float32 under fp16. Such tensors are small, and many are in the
# first layers, whose rounding errors would propagate.
SMALL_TENSOR = 4_000


def halve_weights(path: Path) -> None:
    """Rewrite a float32 graph so that its large weights are stored as float16 and used as float32.

    Each float32 initialiser of more than SMALL_TENSOR numbers becomes one of float16 under another name, and a node
    Cast restores float32 under the old name. ONNX Runtime folds these nodes while it loads the graph, so what runs
    is the same graph as before with rounded weights. Halved weights are not changed.
    """
    model = onnx.load(path)
    floats = [weights for weights in model.graph.initializer if weights.data_type == TensorProto.FLOAT]
    casts = [_halve(weights) for weights in floats if int(np.prod(weights.dims)) > SMALL_TENSOR]
    # Nodes have to follow their inputs: first the casts, then the nodes that read the weights.
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def restore_weights(model: ModelProto) -> ModelProto:
    """Change a graph in place: every halved weight becomes a float32 initialiser under its original name."""
    graph = model.graph
    halved = {weights.name: weights for weights in graph.initializer if weights.data_type == TensorProto.FLOAT16}
    casts = [node for node in graph.node if _is_cast_to_float32(node) and node.input[0] in halved]
    for cast in casts:
        weights = halved[cast.input[0]]
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float32), cast.output[0]))
        graph.node.remove(cast)
    return model


def _halve(weights: TensorProto) -> NodeProto:
    """Round an initialiser in place; return the node that restores its float32 value under its old name."""
    name = weights.name
    rounded = numpy_helper.to_array(weights).astype(np.float16)
    weights.CopyFrom(numpy_helper.from_array(rounded, f"{name}{_SUFFIX}"))
    return helper.make_node(_CAST, [weights.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT)


def _is_cast_to_float32(node: NodeProto) -> bool:
    return node.op_type == _CAST and any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute)
