"""Photographs that are held out of a training, and the protocols that evaluate a bundle on them."""

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
from aff_toolkit.data.photograph import Photograph, single_image_instances, without_single_images
from aff_toolkit.data.photograph_lists import csv_photographs
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.errors import PhotographListError, TooFewPhotographsError
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol
from aff_toolkit.evaluation.relevance import leave_one_out
from aff_toolkit.training.recipe import TrainingRecipe

_FEWEST = 5
_MOST = 500
_AUGMENTED_SIZE = 256
MOST_DISTRACTORS = 1000
# Harder than the augmentation in training, and different: another viewpoint, another light, a worse camera.
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
# The validation uses the recipe's seed; this choice has to differ.
_HELD_OUT_SEED = 101
# Of few instances half are held out: a bundle without a judgement is not kept.
_LARGEST_SHARE = 0.5


def choose_held_out(
    instances: Sequence[str], share: float, seed: int, *, largest_share: float = 0.25
) -> frozenset[str]:
    """Choose the instances to hold out, given the instance name of each photograph.

    It is a rounded share of the instances, at least 5 and at most 500 of them; of few instances at most
    `largest_share`.
    """
    names = sorted(set(instances))
    fewest = min(_FEWEST, int(largest_share * len(names)))
    count = min(max(round(share * len(names)), fewest), _MOST) if share else 0
    return frozenset(np.random.default_rng(seed).permutation(names)[:count].tolist())


def split_queries(instances: Sequence[str]) -> NDArray[np.bool_]:
    """Select the queries of N photographs: the first half of each instance, rounded down; the others are the gallery.

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

    An instance with one photograph is a distractor, as are up to 1,000 of the others. `name` is the key of the
    figures, `source` describes the photographs.
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
    """Return the protocol of a CSV file: by its roles query, gallery and distractor, or leave-one-out.

    Raises:
        PhotographListError: See csv_photographs.
        TooFewImagesError: No instance has two photographs, so there are no queries.
    """
    try:
        return open_set_protocol(csv_path)
    except PhotographListError:
        photographs = csv_photographs(csv_path, None)
    without_single_images(photographs)
    source = f"{csv_path.parent.name}/{csv_path.name}, which may list photographs that were trained on without labels"
    return labelled_protocol(photographs, "labels", source)


def neighbours_protocol(held_out: Sequence[Photograph], others: Sequence[Photograph], seed: int) -> Protocol:
    """Return a protocol in which augmented versions of held-out photographs search for similar photographs.

    Up to 1,000 others are in the gallery too; `seed` determines the augmentations.
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
        "photographs that were trained on; whole image, exact search. It measures how well the pair finds photographs "
        "that the base considers similar, not whether they show the same thing"
    )
    gallery = [*held_out, *beside]
    return Protocol("held_out_neighbours", description, versions, gallery, originals=tuple(range(len(held_out))))


def _some(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Return an evenly spaced selection of up to 1,000 photographs."""
    return list(photographs[:: max(-(-len(photographs) // MOST_DISTRACTORS), 1)])


def _augmented(load: Callable[[], NDArray[np.uint8]], seed: int) -> NDArray[np.uint8]:
    pixels = preprocess(load(), Preprocessing(resize="stretch", size=_AUGMENTED_SIZE))
    version: NDArray[np.uint8] = (
        augment(torch.from_numpy(pixels)[None], _AUGMENTED_SIZE, seed, _HARD)[0].round().to(torch.uint8).numpy()
    )
    return version


@dataclass(frozen=True, slots=True)
class TrainingPhotographs:
    """The photographs of a recipe's joint sources.

    Attributes:
        trained_on: Photographs for the joint training and its validation.
        held_out: Photographs that no part of the training uses.
        single: Sorted names of instances with one photograph, which were left out.
        unreadable: Reasons why held-out photographs cannot be read.
        labelled: Whether the photographs have labels.
    """

    trained_on: list[Photograph]
    held_out: list[Photograph]
    single: list[str]
    unreadable: list[str]
    labelled: bool

    @classmethod
    def of_recipe(cls, recipe: TrainingRecipe, *, min_side: int) -> TrainingPhotographs:
        """Read the joint sources of a recipe, and hold out its share; see load_photograph_file for `min_side`.

        Raises:
            AffError: A source cannot be used, or there are no photographs.
        """
        photographs = load_sources(recipe.joint.sources, min_side=min_side)
        if not photographs:
            raise TooFewPhotographsError("none of the joint sources exists", item="joint.sources")
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
        """Return the protocol of the held-out photographs; None if there are no readable ones.

        `seed` determines augmentations; `unreadable` are names of photographs that are trained on.
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
    """Return why a photograph cannot be read; None if it can."""
    try:
        photograph.load()
    except AffError as error:
        return f"{photograph.name}: {error.detail}"
    return None
