"""The part of a recipe that decides what the finished bundle is measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScenesEvaluationSection(_Section):
    """Held-out procedural landmarks; see scenes_protocol."""

    instances: int
    queries_each: int
    gallery_each: int
    distractors: int
    difficulty: float = Field(ge=0, le=1)


class EvaluationSection(_Section):
    """What the finished bundle is measured on.

    Attributes:
        scenes: Held-out procedural landmarks.
        open_sets: CSV files with columns path, instance and role (query, gallery, distractor, junk), and perhaps with
            the positives and junk of each query (docs/evaluation.md); where one does not exist it is left out.
        held_out_share: Share of the joint sources' instances that no part of the training sees. Without labels,
            augmented versions of photographs search for what resembles the photographs.
        keep: What is written: the `trained` bundle, or the `better` of it and the base that it started from, by the
            first protocol that asks for at least five things (see judgement.py).
    """

    scenes: ScenesEvaluationSection | None = None
    open_sets: tuple[Path, ...] = ()
    held_out_share: float = Field(default=0.0, ge=0, le=0.5)
    keep: Literal["trained", "better"] = "trained"
