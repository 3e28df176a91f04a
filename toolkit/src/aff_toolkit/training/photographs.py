"""Labelled photographs for training and evaluation: procedural scenes, and files that a CSV lists."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_contracts.errors import AffError
from aff_contracts.image_decoding import ImageLimits, decode_image
from aff_toolkit.scenes.view import render_view

Load = Callable[[], NDArray[np.uint8]]


class LabelledFilesError(AffError):
    """A CSV of labelled photographs, or a file that it lists, cannot be read."""

    code = "labelled_files_invalid"
    status = 422
    title = "Unreadable list of photographs"


@dataclass(frozen=True, slots=True)
class Photograph:
    """One photograph that is decoded or rendered when asked for.

    Attributes:
        instance: Name of the thing that it shows; photographs of equal names are positives of each other.
        load: Gives (H, W, 3) uint8 upright RGB.
    """

    instance: str
    load: Load


def scene_photographs(
    instances: Iterable[int], views: Iterable[int], *, difficulty: tuple[float, float], seed: int
) -> list[Photograph]:
    """Return procedural photographs, view by view of each instance; difficulty is drawn between the bounds."""
    rng = np.random.default_rng(seed)
    views = list(views)
    photographs = []
    for instance in instances:
        difficulties = rng.uniform(*difficulty, size=len(views))
        photographs += [
            Photograph(f"scene-{instance}", partial(render_view, instance, view, difficulty=float(level)))
            for view, level in zip(views, difficulties, strict=True)
        ]
    return photographs


def listed_photographs(csv_path: Path, roles: Sequence[str]) -> list[Photograph]:
    """Return the photographs of a CSV file with columns path, instance, role, in the order of its rows.

    Args:
        csv_path: The file; its paths are relative to its directory.
        roles: Which rows to take.

    Raises:
        LabelledFilesError: The file cannot be read, is not CSV in UTF-8, or lacks a column.
    """
    try:
        with csv_path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = {"path", "instance", "role"} - set(reader.fieldnames or ())
            if missing:
                raise LabelledFilesError(f"no column {', '.join(sorted(missing))}", item=str(csv_path))
            return [
                Photograph(row["instance"], partial(_decode_file, csv_path.parent / row["path"]))
                for row in reader
                if row["role"] in roles
            ]
    except OSError as error:
        raise LabelledFilesError(f"cannot be read: {error.strerror}", item=str(csv_path)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelledFilesError(f"is not a CSV file in UTF-8: {error}", item=str(csv_path)) from error


def _decode_file(path: Path) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelledFilesError(f"cannot be read: {error.strerror}", item=str(path)) from error
    return decode_image(data, ImageLimits(), name=str(path)).pixels
