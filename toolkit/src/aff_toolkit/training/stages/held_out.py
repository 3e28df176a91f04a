"""Photographs that a training does not see, and what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aff_shared.errors import AffError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.data.augmentation import Augmentation, augment
from aff_toolkit.data.csv_file import csv_photographs
from aff_toolkit.data.photograph import Photograph, single_image_instances, without_single_images
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.errors import PhotographListError, TooFewPhotographsError
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol
from aff_toolkit.evaluation.relevance import leave_one_out
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe

_FEWEST = 5
_MOST = 500
_AUGMENTED_SIZE = 256
MOST_DISTRACTORS = 1000
# Harder than what is trained on, and of other kinds: another standpoint, another light, a worse camera.
_HARD = Augmentation(
    min_zoom=0.4,
    max_zoom=1.2,
    roll_rad=0.3,
    shear=0.15,
    perspective=0.25,
    gain=0.4,
    erased_share=0.5,
    blurred_share=0.5,
)
# Another choice than that of the validation, which takes the recipe's seed.
_HELD_OUT_SEED = 101
# Of few instances half judge: a bundle that nothing judges is not kept.
_LARGEST_SHARE = 0.5


def choose_held_out(
    instances: Sequence[str], share: float, seed: int, *, largest_share: float = 0.25
) -> frozenset[str]:
    """Choose the instances to hold out.

    Args:
        instances: Name of the instance of each photograph.
        share: Share of the instances, rounded; at least 5 of them and at most 500.
        seed: Seed of the choice.
        largest_share: Of few instances, where 5 of them would be more.
    """
    names = sorted(set(instances))
    fewest = min(_FEWEST, int(largest_share * len(names)))
    count = min(max(round(share * len(names)), fewest), _MOST) if share else 0
    return frozenset(np.random.default_rng(seed).permutation(names)[:count].tolist())


def split_queries(instances: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which photographs are the queries: the first half of each instance, rounded down, the rest is its gallery.

    Args:
        instances: Name of the instance of each of N photographs.

    Returns:
        (N,) bool.
    """
    names = np.asarray(instances)
    queries = np.zeros(len(names), dtype=np.bool_)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        queries[rows[: len(rows) // 2]] = True
    return queries


def labelled_protocol(
    photographs: Sequence[Photograph], name: str, source: str, others: Sequence[Photograph] = ()
) -> Protocol:
    """Return a protocol in which each photograph searches for the others of its instance.

    Args:
        photographs: With their instances; an instance of one photograph is a distractor.
        name: Key of the figures.
        source: What the photographs are, in words.
        others: Distractors, up to 1,000 of them.
    """
    distractors = _some(others)
    asked, listed = leave_one_out([photograph.instance for photograph in photographs])
    beside = f" and {len(distractors)} photographs that were trained on" if distractors else ""
    description = (
        f"{source}: each of {len(asked)} photographs against the other {len(photographs) - 1}{beside}; whole image, "
        "exact search"
    )
    return Protocol(name, description, [photographs[row] for row in asked], [*photographs, *distractors], listed)


def protocol_of_labels(csv_path: Path) -> Protocol:
    """Return what a CSV file of labels asks: its roles query, gallery, distractor; or each photograph for the others.

    Raises:
        PhotographListError: See csv_photographs.
        TooFewImagesError: No instance has two photographs, so that nothing could be asked.
    """
    try:
        return open_set_protocol(csv_path)
    except PhotographListError:
        photographs = csv_photographs(csv_path, None)
    without_single_images(photographs)
    source = f"{csv_path.parent.name}/{csv_path.name}, which may list photographs that were trained on without labels"
    return labelled_protocol(photographs, "labels", source)


def neighbours_protocol(held_out: Sequence[Photograph], others: Sequence[Photograph], seed: int) -> Protocol:
    """Return a protocol in which an augmented version of a photograph searches for what resembles the photograph.

    Args:
        held_out: Photographs that the training did not see.
        others: Photographs that lie in the gallery too, up to 1,000 of them.
        seed: Seed of the augmentations.
    """
    versions = [
        Photograph(
            f"{photograph.name}, augmented", photograph.instance, partial(_augmented, photograph.load, seed + row)
        )
        for row, photograph in enumerate(held_out)
    ]
    beside = _some(others)
    description = (
        f"without labels: hard augmentations of {len(held_out)} held-out photographs search for the photographs whose "
        f"gallery embeddings, by the base, are nearest to that of the original, among these and {len(beside)} "
        "photographs that were trained on; whole image, exact search. It measures how well the pair finds what the "
        "base takes for alike, not whether that shows the same thing"
    )
    gallery = [*held_out, *beside]
    return Protocol("held_out_neighbours", description, versions, gallery, originals=tuple(range(len(held_out))))


def _some(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Return photographs from beginning to end of a list, up to 1,000 of them."""
    return list(photographs[:: max(-(-len(photographs) // MOST_DISTRACTORS), 1)])


def _augmented(load: Callable[[], NDArray[np.uint8]], seed: int) -> NDArray[np.uint8]:
    pixels = preprocess(load(), Preprocessing(resize="stretch", size=_AUGMENTED_SIZE))
    version: NDArray[np.uint8] = (
        augment(torch.from_numpy(pixels)[None], _AUGMENTED_SIZE, seed, _HARD)[0].round().to(torch.uint8).numpy()
    )
    return version


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
            instances, recipe.evaluation.held_out_share, recipe.seed + _HELD_OUT_SEED, largest_share=_LARGEST_SHARE
        )
        trained_on = [photograph for photograph in photographs if photograph.instance not in chosen]
        reasons = [(photograph, _unreadable(photograph)) for photograph in photographs if photograph.instance in chosen]
        held_out = [photograph for photograph, reason in reasons if reason is None]
        return cls(trained_on, held_out, single, [reason for _, reason in reasons if reason], labelled)

    def protocol(self, seed: int, *, unreadable: Collection[str]) -> Protocol | None:
        """Return what the held-out photographs are asked; None where none are held out that can be read.

        Args:
            seed: Seed of the augmentations.
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
