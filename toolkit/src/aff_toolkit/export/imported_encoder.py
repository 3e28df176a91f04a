"""The bundle of an imported embedding space, and a query encoder for it from an ONNX file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper
from pydantic import ValidationError

from aff_shared.bundles.bundle import (
    MANIFEST_NAME,
    ImportedSpace,
    QueryEncoderSpec,
    describe_imported_space,
    load_served_manifest,
    write_manifest,
)
from aff_shared.errors import BundleError, BundleFormatError, BundleNotFoundError, InvalidParameterError
from aff_shared.schemas.preprocessing import Preprocessing
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

_FILE = "query_encoder.onnx"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class ForeignEncoder:
    """A query encoder in ONNX, and how its input is made of a photograph.

    Attributes:
        model: Path of the graph: `image` (B, S, S, 3) uint8 to `embedding` (B, D), or one input (B, 3, S, S) of floats.
        size: S; None if the graph has it.
        mean: Mean of red, green and blue, for pixels from 0 to 1; None if the graph takes uint8.
        deviation: Standard deviation of red, green and blue.
    """

    model: Path
    size: int | None = None
    mean: Sequence[float] | None = None
    deviation: Sequence[float] | None = None


def write_imported_bundle(directory: Path, name: str, dimension: int, encoder: ForeignEncoder | None) -> ImportedSpace:
    """Write the bundle of an imported space, or return the present one if no encoder is passed.

    Args:
        directory: Directory of the bundle.
        name: Name of the space.
        dimension: Width of its vectors, D.
        encoder: Encoder of photographs; None if there is none.

    Raises:
        BundleError: The directory has another bundle, or cannot be written; or the encoder cannot be used.
        InvalidParameterError: The name, or what describes the encoder's input.
    """
    if (directory / MANIFEST_NAME).exists():
        present = load_served_manifest(directory)
        if not isinstance(present, ImportedSpace) or (present.name, present.space.dimension) != (name, dimension):
            detail = (
                f"it has the bundle {present.name} of {present.space.dimension} dimensions; choose another name for "
                f"the imported space of {dimension}"
            )
            raise BundleFormatError(detail, item=str(directory))
        if encoder is None:
            return present
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory.parent, prefix=".importing-") as place:
            spec = None if encoder is None else _convert(encoder, Path(place), dimension)
            manifest = _described(Path(place), name, dimension, spec)
            write_manifest(Path(place), manifest)
            directory.mkdir(exist_ok=True)
            for file in (_FILE, MANIFEST_NAME):  # the manifest last
                if (Path(place) / file).exists():
                    (Path(place) / file).replace(directory / file)
    except OSError as error:
        raise BundleError(f"cannot be written: {error}", item=str(directory)) from error
    return manifest


def _described(place: Path, name: str, dimension: int, spec: QueryEncoderSpec | None) -> ImportedSpace:
    try:
        return describe_imported_space(place, name, dimension, spec)
    except ValidationError as error:
        if error.errors()[0]["loc"] == ("dimension",):
            detail = f"its vectors have {dimension} numbers; those of an embedding space have 2 to 65,536"
            raise InvalidParameterError(detail, item=name) from error
        detail = f"{name!r} is not a name: names have up to 128 letters, digits, dots, dashes and underscores"
        raise InvalidParameterError(detail, item="--name") from error


def _convert(encoder: ForeignEncoder, place: Path, dimension: int) -> QueryEncoderSpec:
    """Write an encoder in the form of a bundle's query encoder, and run it once."""
    try:
        model = onnx.load(encoder.model)
    except FileNotFoundError as error:
        raise BundleNotFoundError("there is no such file", item=str(encoder.model)) from error
    except Exception as error:
        raise BundleFormatError(f"it cannot be read as ONNX: {error}", item=str(encoder.model)) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise BundleFormatError(f"it has the inputs {names}; one is needed, for photographs", item=str(encoder.model))
    kind, shape = inputs[0].type.tensor_type.elem_type, _shape(inputs[0])
    size = encoder.size or (shape[2] if len(shape) == 4 else None)  # noqa: PLR2004
    if size is None:
        raise InvalidParameterError("the graph does not have the size of its input", item="--query-size")
    if kind == TensorProto.UINT8:
        shutil.copyfile(encoder.model, place / _FILE)
    elif kind in _FLOATS and len(shape) == 4 and shape[1] in {_CHANNELS, None}:  # noqa: PLR2004
        onnx.save(_with_preprocessing(model, encoder, size, dimension), place / _FILE)
    else:
        detail = f"its input has the shape {shape}; it has to be (B, 3, S, S) of floats, or (B, S, S, 3) of uint8"
        raise BundleFormatError(detail, item=str(encoder.model))
    preprocessing = Preprocessing(resize="stretch", size=size)
    OnnxQueryEncoder.open(place / _FILE, preprocessing, dimension, threads=1)
    return QueryEncoderSpec(model=_FILE, architecture=encoder.model.stem, preprocessing=preprocessing)


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    return [axis.dim_value or None for axis in value.type.tensor_type.shape.dim]


def _with_preprocessing(model: onnx.ModelProto, encoder: ForeignEncoder, size: int, dimension: int) -> onnx.ModelProto:
    """Return a graph that takes uint8 pixels, normalises them, and returns unit vectors."""
    if encoder.mean is None or encoder.deviation is None:
        detail = "the graph takes floats: set the mean and the standard deviation that it was trained with"
        raise InvalidParameterError(detail, item="--query-mean, --query-std")
    output = _embedding_of(model, encoder.model, dimension)
    source = compose.add_prefix(model, "encoder/").graph
    weights = {tensor.name for tensor in source.initializer}
    pixels = next(one for one in source.input if one.name not in weights)
    scale = 1 / (255 * np.array(encoder.deviation, np.float32).reshape(_CHANNELS, 1, 1))
    shift = -np.array(encoder.mean, np.float32).reshape(_CHANNELS, 1, 1) / np.array(
        encoder.deviation, np.float32
    ).reshape(_CHANNELS, 1, 1)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normalised"]),
        helper.make_node("Cast", ["normalised"], [pixels.name], to=pixels.type.tensor_type.elem_type),
        *source.node,
        helper.make_node("Cast", [f"encoder/{output}"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("LpNormalization", ["wide"], ["embedding"], axis=-1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "query_encoder",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, _CHANNELS])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dimension])],
        [
            *source.initializer,
            numpy_helper.from_array(scale.astype(np.float32), "scale"),
            numpy_helper.from_array(shift.astype(np.float32), "shift"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )


def _embedding_of(model: onnx.ModelProto, path: Path, dimension: int) -> str:
    """Return the name of the output of shape (B, D)."""
    shapes = {one.name: _shape(one) for one in model.graph.output}
    flat = {name: shape for name, shape in shapes.items() if len(shape) == 2}  # noqa: PLR2004
    found = [name for name, shape in flat.items() if shape[1] == dimension] or [
        name for name, shape in flat.items() if shape[1] is None
    ]
    if len(found) != 1:
        detail = f"{len(found)} of its outputs have the shape (B, {dimension}) of the vectors: {shapes}"
        raise BundleFormatError(detail, item=str(path))
    return str(found[0])
