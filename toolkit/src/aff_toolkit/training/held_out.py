"""Photographs that a training does not see, and what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aff_contracts.preprocessing import Preprocessing, preprocess
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol
from aff_toolkit.training.augmentation import augment
from aff_toolkit.training.data.csv_file import csv_photographs
from aff_toolkit.training.data.instances import without_single_images
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.source_errors import PhotographListError

_FEWEST = 5
_MOST = 500
_LEAST_TRAINED_ON = 4
_AUGMENTED_SIZE = 256
_MOST_DISTRACTORS = 5000


def choose_held_out(instances: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Choose the instances to hold out.

    Args:
        instances: Name of the instance of each photograph.
        share: Share of the instances, rounded; at least 5 of them and at most 500, and never above a quarter of few.
        seed: Of the choice.
    """
    names = sorted(set(instances))
    fewest = min(_FEWEST, len(names) // _LEAST_TRAINED_ON)
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


def labelled_protocol(photographs: Sequence[Photograph], name: str, source: str) -> Protocol:
    """Return a protocol in which half of each instance's photographs search for the other half.

    Args:
        photographs: With their instances; an instance of one photograph is a distractor.
        name: Key of the figures.
        source: What the photographs are, in words.
    """
    queries = split_queries([photograph.instance for photograph in photographs])
    asked = [photograph for photograph, query in zip(photographs, queries, strict=True) if query]
    searched = [photograph for photograph, query in zip(photographs, queries, strict=True) if not query]
    description = (
        f"{source}: {len(asked)} queries against the {len(searched)} other photographs of the same instances; whole "
        "image, exact search"
    )
    return Protocol(name, description, asked, searched)


def protocol_of_labels(csv_path: Path) -> Protocol:
    """Return what a CSV file of labels asks: its roles query, gallery, distractor, or half of each instance the other.

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


def augmented_protocol(held_out: Sequence[Photograph], others: Sequence[Photograph], seed: int) -> Protocol:
    """Return a protocol in which an augmented version of each held-out photograph searches for the photograph.

    Args:
        held_out: Photographs that the training did not see.
        others: Photographs that lie in the gallery as distractors, up to 5,000 of them.
        seed: Of the augmentations.
    """
    queries = [
        Photograph(
            f"{photograph.name}, augmented", photograph.instance, partial(_augmented, photograph.load, seed + row)
        )
        for row, photograph in enumerate(held_out)
    ]
    distractors = list(others[:_MOST_DISTRACTORS])
    description = (
        f"without labels: augmented versions of {len(held_out)} held-out photographs against the photographs "
        f"themselves and {len(distractors)} others; whole image, exact search. It tells how robust the pair is, not "
        "whether it finds other photographs of the same thing"
    )
    return Protocol("held_out_augmented", description, queries, [*held_out, *distractors])


def _augmented(load: Callable[[], NDArray[np.uint8]], seed: int) -> NDArray[np.uint8]:
    pixels = preprocess(load(), Preprocessing(resize="stretch", size=_AUGMENTED_SIZE))
    version: NDArray[np.uint8] = (
        augment(torch.from_numpy(pixels)[None], _AUGMENTED_SIZE, seed)[0].round().to(torch.uint8).numpy()
    )
    return version
