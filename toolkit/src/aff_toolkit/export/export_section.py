"""The recipe's section on what a bundle is written with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.weights.stored_precision import Stored


class ExportSection(BaseModel):
    """Which graphs a bundle holds, the gates that they have to pass, and what keeps its files small.

    Attributes:
        int8: Write the quantised graph beside the float32 one, where it passes.
        calibration_images: Training photographs, at most, that the ranges of the quantised activations are taken from
            and that the graphs are compared on.
        max_map_loss_points: Asymmetric mAP that int8 may lose against float32, in points of 100, under the first
            protocol that the bundle is measured by.
        min_cosine: Between the embeddings by the float32 graph and by torch, for each of those photographs.
        stored: `fp16` stores large tensors of the mixer and of the float32 query graph as float16, at half the bytes.
            They are computed with in float32, and embeddings differ by less than 1e-3 in every coordinate.
        prototypes: Write the training prototypes, by which losses that classify train a query encoder for this gallery
            side later. They are as large as instances x dimension, 2 bytes each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = True
    calibration_images: int = Field(default=512, ge=1)
    max_map_loss_points: float = Field(default=0.5, ge=0)
    min_cosine: float = Field(default=0.9999, ge=-1, le=1)
    stored: Stored = "fp32"
    prototypes: bool = True
