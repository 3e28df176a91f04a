"""The photographs of the joint training, apart from those that the finished bundle is judged by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aff_contracts.errors import AffError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.training.data.instances import single_image_instances, without_single_images
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.held_out import augmented_protocol, choose_held_out, labelled_protocol
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.training_errors import TooFewPhotographsError
from aff_toolkit.training.training_source import load_sources

# Another choice than that of the validation, which takes the recipe's seed.
_SEED = 101


@dataclass(frozen=True, slots=True)
class TrainingPhotographs:
    """What a recipe's joint sources hold.

    Attributes:
        trained_on: Photographs for the joint training and its validation.
        held_out: Photographs that no part of the training sees.
        single: Sorted names of instances of one photograph, which were left out.
        labelled: False where each photograph is an instance of its own.
    """

    trained_on: list[Photograph]
    held_out: list[Photograph]
    single: list[str]
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
        chosen = choose_held_out(instances, recipe.evaluation.held_out_share, recipe.seed + _SEED)
        trained_on = [photograph for photograph in photographs if photograph.instance not in chosen]
        held_out = [photograph for photograph in photographs if photograph.instance in chosen]
        return cls(trained_on, held_out, single, labelled)

    def protocol(self, seed: int, *, unreadable: Collection[str]) -> Protocol | None:
        """Return what the held-out photographs are asked; None where none are held out that can be read.

        Args:
            seed: Of the augmentations.
            unreadable: Names of photographs that were trained on, had it been possible to read them.
        """
        held_out = [photograph for photograph in self.held_out if _is_readable(photograph)]
        if not held_out:
            return None
        if self.labelled:
            instances = len({photograph.instance for photograph in held_out})
            return labelled_protocol(held_out, "held_out", f"{instances} instances held out of the training")
        others = [photograph for photograph in self.trained_on if photograph.name not in unreadable]
        return augmented_protocol(held_out, others, seed)


def _is_readable(photograph: Photograph) -> bool:
    try:
        photograph.load()
    except AffError:
        return False
    return True
