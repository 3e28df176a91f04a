"""A bundle whose query encoder is a real ONNX model, small enough to be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aff_contracts.bundle import (
    BundleManifest,
    ExtractorSpec,
    FeatureSpec,
    MixerSpec,
    QueryEncoderSpec,
    build_manifest,
    write_manifest,
)
from aff_contracts.preprocessing import Preprocessing

SIZE = 16
DIMENSION = 6
MODEL_FILE = "query_encoder.onnx"
_OPSET = 17
_IR_VERSION = 8

PROJECTION: NDArray[np.float32] = np.hstack([np.eye(3), 2 * np.eye(3)]).astype(np.float32)
"""(3, D): the embedding of a photograph is its mean colour plus one grey level, times this, at unit length.

The rows are orthogonal and equally long, so the cosine of two embeddings is the cosine of the two colours.
"""


def embedding_of_colour(colour: tuple[int, int, int]) -> NDArray[np.float32]:
    """Embed a photograph of one colour: (D,) float32, unit length."""
    embedding = (np.array(colour, dtype=np.float64) + 1) @ PROJECTION
    return (embedding / np.linalg.norm(embedding)).astype(np.float32)


def write_tiny_query_bundle(directory: Path, model: onnx.ModelProto | None = None) -> BundleManifest:
    """Write the bundle into `directory`; another model than the tiny one makes it a bad bundle."""
    (directory / MODEL_FILE).write_bytes((model or tiny_query_model()).SerializeToString())
    return describe_query_bundle(directory)


def describe_query_bundle(directory: Path) -> BundleManifest:
    """Write mixer and manifest beside the file that is to be taken for the query encoder."""
    (directory / "mixer.safetensors").write_bytes(b"no mixer")
    preprocessing = Preprocessing(resize="stretch", size=SIZE)
    manifest = build_manifest(
        directory,
        name="tiny query",
        dimension=DIMENSION,
        query_encoder=QueryEncoderSpec(model=MODEL_FILE, architecture="mean colour", preprocessing=preprocessing),
        mixer=MixerSpec(weights="mixer.safetensors", layers=1, heads=1, mlp_ratio=1.0, dropout=0.0),
        extractors=[
            ExtractorSpec(
                name="none",
                family="none",
                preprocessing=preprocessing,
                features=(FeatureSpec(name="none", kind="global", dimension=4, max_tokens=1),),
                weights_source="none",
            )
        ],
        recipe={},
        metrics={},
        licences=[],
    )
    write_manifest(directory, manifest)
    return manifest


def tiny_query_model(
    *, size: int = SIZE, projection: NDArray[np.float32] = PROJECTION, input_type: int = TensorProto.UINT8
) -> onnx.ModelProto:
    """Make the graph: `image` (B, size, size, 3) -> `embedding` (B, D) float32, unit length.

    Args:
        size: Side of the input.
        projection: (3, D) float32; its width is the embedding's.
        input_type: Element type of `image`.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["mean", "one"], ["colour"]),
        helper.make_node("MatMul", ["colour", "projection"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny query encoder",
        inputs=[helper.make_tensor_value_info("image", input_type, ["B", size, size, 3])],
        outputs=[helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", projection.shape[1]])],
        initializer=[
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
            numpy_helper.from_array(projection, "projection"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
