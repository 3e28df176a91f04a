"""A query encoder small enough to be worked out by hand, as the ONNX graph of a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIZE = 32
DIMENSION = 8

_WEIGHTS = np.random.default_rng(7).standard_normal((12, DIMENSION)).astype(np.float32)


def tiny_query_encoder(
    *,
    image: str = "image",
    embedding: str = "embedding",
    pixels: TensorProto.DataType = TensorProto.UINT8,
    batch: str | int = "batch",
    size: int = SIZE,
    dimension: int = DIMENSION,
    unit_length: bool = True,
    step: float | None = None,
) -> bytes:
    """Return the model file: mean colour of each quarter of the picture, fixed projection, unit length.

    With `step` the mean colours, from 0 to 1, are quantised to multiples of it. Every argument before that but the
    defaults breaks the contract of a bundle's query encoder in one place.
    """
    half = size // 2
    constants: dict[str, NDArray[Any]] = {
        "quarters": np.array([-1, 2, half, 2, half, 3], dtype=np.int64),
        "flat": np.array([-1, 12], dtype=np.int64),
        "white": np.array(255, dtype=np.float32),
        "weights": _WEIGHTS[:, :dimension],
    }
    if step is not None:
        constants |= {"step": np.array(step, dtype=np.float32), "zero": np.array(0, dtype=np.uint8)}
    last = helper.make_node("LpNormalization" if unit_length else "Identity", ["projected"], [embedding])
    nodes = [
        helper.make_node("Cast", [image], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "white"], ["light"]),
        helper.make_node("Reshape", ["light", "quarters"], ["grid"]),
        helper.make_node("ReduceMean", ["grid"], ["means"], axes=[2, 4], keepdims=0),
        *(_quantised_means() if step is not None else [helper.make_node("Identity", ["means"], ["kept"])]),
        helper.make_node("Reshape", ["kept", "flat"], ["colours"]),
        helper.make_node("MatMul", ["colours", "weights"], ["projected"]),
        last,
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_query_encoder",
        [helper.make_tensor_value_info(image, pixels, [batch, size, size, 3])],
        [helper.make_tensor_value_info(embedding, TensorProto.FLOAT, [batch, dimension])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _quantised_means() -> list[NodeProto]:
    return [
        helper.make_node("QuantizeLinear", ["means", "step", "zero"], ["steps"]),
        helper.make_node("DequantizeLinear", ["steps", "step", "zero"], ["kept"]),
    ]


def tiny_embedding(*quarters: tuple[float, float, float]) -> NDArray[np.float32]:
    """Work out the embedding of a picture by hand.

    Args:
        quarters: Colours of the upper left, upper right, lower left and lower right quarter; or one for all.

    Returns:
        (DIMENSION,) float32, unit length.
    """
    colours = quarters * 4 if len(quarters) == 1 else quarters
    levels = [level / 255 for colour in colours for level in colour]
    projected = [sum(levels[i] * float(_WEIGHTS[i, j]) for i in range(12)) for j in range(DIMENSION)]
    length = sum(value * value for value in projected) ** 0.5
    return np.array([value / length for value in projected], dtype=np.float32)
