"""The part of a recipe that trains mixer and query encoder together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.data.augmentation import Augmentation
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.engine.head_fitting import HeadFitting
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.losses.classification import ArcFace
from aff_toolkit.training.losses.compatibility import DEFAULT_LOSSES, CompatibilityLoss


class JointSection(BaseModel):
    """Joint training of mixer and query encoder.

    Attributes:
        sources: The photographs.
        single_photographs: Whether instances of one photograph are left out, or kept: then a photograph and its
            augmented versions are an instance. Pseudo-instances keep them in any case.
        pseudo_instances: How to make instances of photographs without labels: of all, where one source has no labels;
            of none, where every source has them.
        validation_share: Share of the instances that are held out to choose the best weights by; 0, or fewer than 5
            instances, takes the last weights.
        copies: Versions of each photograph whose features are kept: itself, and augmented ones.
        prototypes: Where w_mix starts: at random directions, as in the paper, or at the means of each instance's
            gallery embeddings by the mixer as it starts, which an anchored mixer needs: random ones would pull it out
            of the space that the query encoder reaches.
        augmentation: Of what the query encoder sees, and of the augmented copies.
        discriminative: L_disc, of the mixer.
        anchor_weight: Of 1 - cosine between the embeddings of an anchored mixer and its anchor. Without it, what the
            photographs teach is paid for on photographs of another kind.
        losses: Compatibility losses of the query encoder, which are added up.
        update: How the query side follows the shared classifier.
        head_fitting: Whether and how the query encoder's last layer is fitted to the gallery embeddings at the end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[TrainingSource, ...] = Field(min_length=1)
    single_photographs: Literal["leave_out", "keep"] = "leave_out"
    pseudo_instances: PseudoInstancesSection | None = None
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    copies: int = Field(default=1, ge=1)
    prototypes: Literal["random", "means"] = "random"
    augmentation: Augmentation = Augmentation()
    discriminative: ArcFace = ArcFace()
    anchor_weight: float = Field(default=0.0, ge=0)
    losses: tuple[CompatibilityLoss, ...] = Field(default=DEFAULT_LOSSES, min_length=1)
    update: UpdateRule = UpdateRule()
    head_fitting: HeadFitting | None = None
    optimisation: OptimisationSection

    @property
    def grouping(self) -> PseudoInstancesSection | None:
        """How the photographs that are there are grouped; None where their own instances are taken.

        Raises:
            PhotographSourceError: A path is neither a folder nor a CSV file.
        """
        labelled = all(source.photographs.labelled for source in self.sources if source.present)
        return None if labelled else self.pseudo_instances


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
