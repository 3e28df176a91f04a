"""Checks of the export: the float32 graph equals the trained network, and int8 is nearly as accurate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.data import Settings
from aff_toolkit.errors import ExportMismatchError
from aff_toolkit.weights.half_weights import Stored

Encode = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]

# Key of the results in the metrics of a bundle's manifest.
EXPORT_FIGURES = "export"

_POINTS = 100
_DECIMALS = 6


class CosineFigures(BaseModel):
    """Least and mean cosine between the embeddings of the same photographs by two versions of an encoder."""

    model_config = ConfigDict(frozen=True)

    photographs: int
    min_cosine: float
    mean_cosine: float


class Int8Verdict(BaseModel):
    """Decision on the int8 graph of a bundle.

    Attributes:
        accepted: Whether the bundle contains it.
        reason: Reason of the decision, with the figures.
        protocol: Name of the protocol; None if the graph was not measured.
        map_fp32: Asymmetric mAP from 0 to 1, as `map_int8` is.
        cosine: Cosines between its embeddings and those of the float32 graph.
    """

    model_config = ConfigDict(frozen=True)

    accepted: bool
    reason: str
    protocol: str | None = None
    map_fp32: float | None = None
    map_int8: float | None = None
    cosine: CosineFigures | None = None

    def describe(self) -> str:
        """Return the decision as one line."""
        return f"{'with' if self.accepted else 'without'} an int8 query encoder: {self.reason}"


def compare_embeddings(first: Encode, second: Encode, batches: Iterable[NDArray[np.uint8]]) -> CosineFigures:
    """Embed photographs, (b, S, S, 3) uint8 a batch, with two encoders.

    Raises:
        ValueError: There are no photographs.
    """
    parts = []
    for batch in batches:
        a, b = first(list(batch)).astype(np.float64), second(list(batch)).astype(np.float64)
        parts.append((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
    cosines = np.concatenate(parts)
    return CosineFigures(photographs=len(cosines), min_cosine=float(cosines.min()), mean_cosine=float(cosines.mean()))


def require_same_embeddings(
    trained: Encode, exported: Encode, batches: Iterable[NDArray[np.uint8]], min_cosine: float
) -> CosineFigures:
    """Require that the float32 graph computes the same embeddings as the trained network.

    Raises:
        ExportMismatchError: A cosine is below `min_cosine`; the detail contains the figures.
    """
    figures = compare_embeddings(trained, exported, batches)
    # Not `<`: NaN must not pass.
    if not figures.min_cosine >= min_cosine:
        detail = (
            f"the cosine of its embedding to torch's falls to {figures.min_cosine:.6f} (mean {figures.mean_cosine:.6f})"
            f" on {figures.photographs} photographs; at least {min_cosine:g} is required (export.min_cosine)"
        )
        raise ExportMismatchError(detail)
    return figures


def judge_int8(
    protocol: str,
    *,
    map_fp32: float,
    map_int8: float,
    cosine: CosineFigures,
    max_map_loss_points: float,
    map_of_base: float | None = None,
) -> Int8Verdict:
    """Accept the int8 graph if it loses little asymmetric mAP, or is as accurate as the base's int8 graph.

    Every mAP is from 0 to 1; `map_of_base` is None if the base has no int8 graph. The cosines to the float32 graph are
    only reported. See ExportSection for `max_map_loss_points`.
    """
    # 80.0 less 79.5 is a little above half a point in floating point.
    loss = round(_POINTS * (map_fp32 - map_int8), _DECIMALS)
    accepted = loss <= max_map_loss_points or (map_of_base is not None and map_int8 >= map_of_base)
    base = "" if map_of_base is None else f"; the int8 graph of the base reaches {_POINTS * map_of_base:.2f}"
    change = f"loss of {loss:.2f}" if loss > 0 else f"gain of {-loss:.2f}"
    reason = (
        f"mAP {_POINTS * map_int8:.2f} against {_POINTS * map_fp32:.2f} of fp32 under {protocol}, a {change} points; "
        f"at most {max_map_loss_points:g} may be lost (export.max_map_loss_points){base}. Cosine to fp32 at least "
        f"{cosine.min_cosine:.4f}, {cosine.mean_cosine:.4f} in the mean"
    )
    return Int8Verdict(
        accepted=accepted, reason=reason, protocol=protocol, map_fp32=map_fp32, map_int8=map_int8, cosine=cosine
    )


class ExportSection(Settings):
    """The graphs of a bundle, the checks that they have to pass, and the precision of its files.

    Attributes:
        int8: Whether to add the quantised graph if it passes.
        calibration_images: Maximum number of training photographs for the ranges of the quantised activations and for
            the comparison of the graphs.
        max_map_loss_points: Maximum loss of asymmetric mAP by int8 against float32, in points of 100, under the
            bundle's first protocol.
        min_cosine: Minimum cosine between the embeddings by the float32 graph and by torch, for each of those
            photographs.
        stored: `fp16` stores large tensors of the mixer and of the float32 query graph as float16, at half the bytes.
            Computations use float32, and embeddings differ by less than 1e-3 in every coordinate.
        prototypes: Whether to write the training prototypes, with which classifying losses can train a query encoder
            for this gallery side later. They take 2 bytes x instances x dimension.
    """

    int8: bool = True
    calibration_images: int = Field(default=512, ge=1)
    max_map_loss_points: float = Field(default=0.5, ge=0)
    min_cosine: float = Field(default=0.9999, ge=-1, le=1)
    stored: Stored = "fp32"
    prototypes: bool = True
