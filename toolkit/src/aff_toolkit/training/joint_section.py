"""The part of a recipe that trains mixer and query encoder together."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.training.losses.arcface import ArcFace
from aff_toolkit.training.losses.compatibility_loss import DEFAULT_LOSSES, CompatibilityLoss
from aff_toolkit.training.optimisation_section import OptimisationSection
from aff_toolkit.training.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.training_source import TrainingSource
from aff_toolkit.training.update_rule import UpdateRule


class JointSection(BaseModel):
    """Joint training of mixer and query encoder.

    Attributes:
        sources: The photographs. Instances of one photograph are left out, unless they are pseudo-instances.
        pseudo_instances: How to make instances of photographs without labels: of all, where one source has no labels;
            of none, where every source has them.
        validation_share: Share of the instances that are held out to choose the best weights by; 0, or fewer than 5
            instances, takes the last weights.
        copies: Versions of each photograph whose features are kept: itself, and augmented ones.
        discriminative: L_disc, of the mixer.
        losses: Compatibility losses of the query encoder, which are added up.
        update: How the query side follows the shared classifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[TrainingSource, ...] = Field(min_length=1)
    pseudo_instances: PseudoInstancesSection | None = None
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    copies: int = Field(default=1, ge=1)
    discriminative: ArcFace = ArcFace()
    losses: tuple[CompatibilityLoss, ...] = Field(default=DEFAULT_LOSSES, min_length=1)
    update: UpdateRule = UpdateRule()
    optimisation: OptimisationSection

    @property
    def grouping(self) -> PseudoInstancesSection | None:
        """How the photographs that are there are grouped; None where their own instances are taken.

        Raises:
            PhotographSourceError: A path is neither a folder nor a CSV file.
        """
        labelled = all(source.photographs.labelled for source in self.sources if source.present)
        return None if labelled else self.pseudo_instances
