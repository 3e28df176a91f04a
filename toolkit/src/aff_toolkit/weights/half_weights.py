"""Stores the weights of an ONNX graph in half precision, and takes them back to single precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_CAST = "Cast"
_SUFFIX = "_float16"
Stored = Literal["fp32", "fp16"]
# Numbers of a tensor, at most, that stays float32 under fp16. Such tensors, of which the first layers are made, weigh
# nothing, and what is rounded there goes through all that follows.
SMALL_TENSOR = 4_000


def halve_weights(path: Path) -> None:
    """Rewrite a float32 graph so that its large weights are stored as float16, and still computed with as float32.

    Each float32 initialiser of more than SMALL_TENSOR numbers becomes one of float16 under another name, and a node
    Cast gives its float32 under the old name. ONNX Runtime folds these nodes while it loads the graph, so what runs
    is the same graph as before with rounded weights. What is halved already stays as it is.

    Args:
        path: Of the graph, overwritten.

    Raises:
        OSError: It cannot be read or written.
    """
    model = onnx.load(path)
    large = [weights for weights in model.graph.initializer if _is_large(weights)]
    casts = [_halve(weights) for weights in large]
    # A node has to stand behind those that it reads from: first the casts, then everything that reads the weights.
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def restore_weights(model: ModelProto) -> ModelProto:
    """Return the graph with every halved weight as a float32 initialiser under its first name.

    Args:
        model: Changed in place: a graph that halve_weights wrote, or any other, which stays as it is.
    """
    graph = model.graph
    halved = {weights.name: weights for weights in graph.initializer if weights.data_type == TensorProto.FLOAT16}
    casts = [node for node in graph.node if _gives_float32(node) and node.input[0] in halved]
    for cast in casts:
        weights = halved[cast.input[0]]
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float32), cast.output[0]))
        graph.node.remove(cast)
    return model


def _is_large(weights: TensorProto) -> bool:
    return weights.data_type == TensorProto.FLOAT and int(np.prod(weights.dims)) > SMALL_TENSOR


def _halve(weights: TensorProto) -> NodeProto:
    """Round an initialiser in place; return the node that gives what it held, under the name that it had."""
    name = weights.name
    rounded = numpy_helper.to_array(weights).astype(np.float16)
    weights.CopyFrom(numpy_helper.from_array(rounded, f"{name}{_SUFFIX}"))
    return helper.make_node(_CAST, [weights.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT)


def _gives_float32(node: NodeProto) -> bool:
    return node.op_type == _CAST and any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute)
