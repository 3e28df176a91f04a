"""The variants of the method that an ablation trains, and the results of their trainings."""

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
    """The settings that distinguish one variant; the configuration has all others.

    Attributes:
        name: Name derived from the settings (see `grid`), also part of file names.
        features: Names of the mixer's features, in its order.
        mixer: Kind of mixer.
        losses: Compatibility losses of the query side, summed by weight.
        update: Update rule of the query side's prototypes.
    """

    name: str = Field(pattern=r"^[a-z0-9_.+]+$")
    features: tuple[str, ...] = Field(min_length=1)
    mixer: MixerKind = "transformer"
    losses: tuple[CompatibilityLoss, ...] = Field(min_length=1)
    update: UpdateRule = UpdateRule()


class PairingScores(_Model):
    """Mean scores over the queries, from 0 to 1."""

    map: Share
    recall_at_1: Share


class CurvePoint(_Model):
    """The scores during a training.

    Attributes:
        epoch: Number of finished epochs.
        map: mAP by pairing.
    """

    epoch: int = Field(ge=0)
    map: Mapping[Pairing, Share]


class RunResult(_Model):
    """The results of one training with one seed on one benchmark.

    Attributes:
        benchmark: Name of the protocol.
        variant: Name of the variant.
        seed: Seed of weights, batches and augmentations.
        scores: Scores by pairing: `asymmetric` searches the gallery side's embeddings with the query encoder's;
            `symmetric` also embeds queries with the gallery side; `light_only` also embeds the gallery with the query
            encoder.
        average_precisions: Average precisions (Q,) by pairing, 0 to 1; the same queries in all runs of a benchmark.
        seconds: Wall time of the training.
        images_per_s: Photographs per second of the training.
        curve: Scores during the training, if measured.
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
