"""One way of the method that an ablation trains, and what one training of it measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aff_shared.bundles.bundle import MixerKind
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.losses.compatibility import CompatibilityLoss

Pairing = Literal["asymmetric", "symmetric", "light_only"]
Share = Annotated[float, Field(ge=0, le=1)]

_ROUNDING = 1e-6


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Model):
    """What sets one training apart from the others; everything else is the benchmark's configuration.

    Attributes:
        name: Follows from the rest (see `grid`); also a part of file names.
        features: Names of the features that the mixer takes, in its order.
        mixer: Which way of fusion.
        losses: Compatibility losses of the query side; their weighted sum is what it learns from.
        update: What the query side learns against.
    """

    name: str = Field(pattern=r"^[a-z0-9_.+]+$")
    features: tuple[str, ...] = Field(min_length=1)
    mixer: MixerKind = "transformer"
    losses: tuple[CompatibilityLoss, ...] = Field(min_length=1)
    update: UpdateRule = UpdateRule()


class PairingScores(_Model):
    """Figures from 0 to 1, means over the queries."""

    map: Share
    recall_at_1: Share


class CurvePoint(_Model):
    """What a training had reached after some of its epochs.

    Attributes:
        epoch: Epochs that were over.
        map: mAP by pairing.
    """

    epoch: int = Field(ge=0)
    map: Mapping[Pairing, Share]


class RunResult(_Model):
    """What one training with one seed measured on one benchmark.

    Attributes:
        benchmark: Name of its protocol.
        variant: Name of the variant.
        seed: Of weights, batches and augmentations.
        scores: By pairing: `asymmetric` searches the gallery side's embeddings with the query encoder's; `symmetric`
            embeds queries with the gallery side too; `light_only` embeds the gallery with the query encoder.
        average_precisions: By pairing, (Q,) from 0 to 1; all runs of a benchmark have the same queries in one order.
        seconds: Wall time of the training.
        images_per_s: Photographs per second of the training.
        curve: What it had reached on the way, where that was measured.
    """

    benchmark: str = ""
    variant: str
    seed: int
    scores: Mapping[Pairing, PairingScores]
    average_precisions: Mapping[Pairing, tuple[Share, ...]]
    seconds: float = Field(ge=0)
    images_per_s: float = Field(ge=0)
    curve: tuple[CurvePoint, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> RunResult:
        if missing := {"asymmetric", "symmetric"} - self.scores.keys():
            raise ValueError(f"no scores for {', '.join(sorted(missing))}")
        if self.scores.keys() != self.average_precisions.keys():
            raise ValueError("scores and average precisions are not of the same pairings")
        for pairing, precisions in self.average_precisions.items():
            mean = math.fsum(precisions) / max(len(precisions), 1)
            if not precisions or abs(mean - self.scores[pairing].map) > _ROUNDING:
                raise ValueError(f"mAP of {pairing} is not the mean of its average precisions")
        return self
