"""The photographs of the joint training, apart from those that the finished bundle is judged by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aff_shared.errors import AffError
from aff_toolkit.data.photograph import Photograph, single_image_instances, without_single_images
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe
from aff_toolkit.training.stages.held_out import choose_held_out, labelled_protocol, neighbours_protocol

# Another choice than that of the validation, which takes the recipe's seed.
_SEED = 101
# Of few instances half judge: a bundle that nothing judges is not kept.
_LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TrainingPhotographs:
    """What a recipe's joint sources hold.

    Attributes:
        trained_on: Photographs for the joint training and its validation.
        held_out: Photographs that no part of the training sees.
        single: Sorted names of instances of one photograph, which were left out.
        unreadable: Reasons of photographs that would have been held out, and cannot be read.
        labelled: False where each photograph is an instance of its own.
    """

    trained_on: list[Photograph]
    held_out: list[Photograph]
    single: list[str]
    unreadable: list[str]
    labelled: bool

    @classmethod
    def of_recipe(cls, recipe: TrainingRecipe, *, min_side: int) -> TrainingPhotographs:
        """Read the sources of a recipe, and hold out what it says.

        Args:
            recipe: Its joint section and `evaluation.held_out_share`.
            min_side: See load_photograph_file.

        Raises:
            AffError: A source cannot be used, or nothing is left.
        """
        photographs = load_sources(recipe.joint.sources, min_side=min_side)
        if not photographs:
            raise TooFewPhotographsError("none of the joint sources is there", item="joint.sources")
        single: list[str] = []
        labelled = recipe.joint.grouping is None
        if labelled and recipe.joint.single_photographs == "leave_out":
            photographs, single = without_single_images(photographs)
        instances = [photograph.instance for photograph in photographs]
        if labelled:
            alone = set(single_image_instances(instances))
            instances = [instance for instance in instances if instance not in alone]
        chosen = choose_held_out(
            instances, recipe.evaluation.held_out_share, recipe.seed + _SEED, largest_share=_LARGEST_SHARE
        )
        trained_on = [photograph for photograph in photographs if photograph.instance not in chosen]
        reasons = [(photograph, _unreadable(photograph)) for photograph in photographs if photograph.instance in chosen]
        held_out = [photograph for photograph, reason in reasons if reason is None]
        return cls(trained_on, held_out, single, [reason for _, reason in reasons if reason], labelled)

    def protocol(self, seed: int, *, unreadable: Collection[str]) -> Protocol | None:
        """Return what the held-out photographs are asked; None where none are held out that can be read.

        Args:
            seed: Of the augmentations.
            unreadable: Names of photographs that were trained on, had it been possible to read them.
        """
        if not self.held_out:
            return None
        others = [photograph for photograph in self.trained_on if photograph.name not in unreadable]
        if self.labelled:
            instances = len({photograph.instance for photograph in self.held_out})
            source = f"{instances} instances held out of the training"
            return labelled_protocol(self.held_out, "held_out", source, others)
        return neighbours_protocol(self.held_out, others, seed)


def _unreadable(photograph: Photograph) -> str | None:
    """Return why a photograph cannot be read; None where it can."""
    try:
        photograph.load()
    except AffError as error:
        return f"{photograph.name}: {error.detail}"
    return None
