"""The recipe's section on the export of the query encoder."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ExportSection(BaseModel):
    """Which graphs a bundle holds, and the gates that they have to pass.

    Attributes:
        int8: Write the quantised graph beside the float32 one, where it passes.
        calibration_images: Training photographs, at most, that the ranges of the quantised activations are taken from
            and that the graphs are compared on.
        max_map_loss_points: Asymmetric mAP that int8 may lose against float32, in points of 100, under the first
            protocol that the bundle is measured by.
        min_cosine: Between the embeddings by the float32 graph and by torch, for each of those photographs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    int8: bool = True
    calibration_images: int = Field(default=512, ge=1)
    max_map_loss_points: float = Field(default=0.5, ge=0)
    min_cosine: float = Field(default=0.9999, ge=-1, le=1)
