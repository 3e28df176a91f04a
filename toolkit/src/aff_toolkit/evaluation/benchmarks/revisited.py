"""Revisited Oxford and Paris (Radenovic et al., CVPR 2018), with or without the million distractors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aff_shared.errors import ImageError
from aff_shared.images.decoding import Crop, ImageLimits, decode_image
from aff_shared.images.formats import exif_orientation, open_image
from aff_toolkit.data.folder import unlabelled_photographs
from aff_toolkit.data.photograph import Photograph, load_below, read_photograph
from aff_toolkit.errors import BenchmarkError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.relevance import Ragged
from aff_toolkit.evaluation.revisited_ground_truth import SETUPS, RevisitedGroundTruth, Setup, read_revisited

RevisitedName = Literal["roxford5k", "rparis6k"]

_LIMITS = ImageLimits()
Box = tuple[float, float, float, float]
# Where the edges left, top, right, bottom of the upright box come from: for each orientation, four edges of the
# stored box, each as (edge, whether it is measured from the far side).
_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)
_TURNS = {
    1: ((_LEFT, False), (_TOP, False), (_RIGHT, False), (_BOTTOM, False)),
    2: ((_RIGHT, True), (_TOP, False), (_LEFT, True), (_BOTTOM, False)),
    3: ((_RIGHT, True), (_BOTTOM, True), (_LEFT, True), (_TOP, True)),
    4: ((_LEFT, False), (_BOTTOM, True), (_RIGHT, False), (_TOP, True)),
    5: ((_TOP, False), (_LEFT, False), (_BOTTOM, False), (_RIGHT, False)),
    6: ((_BOTTOM, True), (_LEFT, False), (_TOP, True), (_RIGHT, False)),
    7: ((_BOTTOM, True), (_RIGHT, True), (_TOP, True), (_LEFT, True)),
    8: ((_TOP, False), (_RIGHT, True), (_BOTTOM, False), (_LEFT, True)),
}


def revisited_benchmark(
    name: RevisitedName, directory: Path, *, distractors: Path | None = None, min_side: int | None = None
) -> Benchmark:
    """Return a benchmark with its setups easy, medium and hard; queries are cropped to their boxes.

    Args:
        name: Which one.
        directory: Holds the official `gnd_<name>.pkl`, and the folder `jpg` with the images `<name of image>.jpg`.
        distractors: Folder whose image files, at any depth, go into the gallery behind the benchmark's own.
        min_side: See load_photograph_file.

    Raises:
        GroundTruthError: The ground truth cannot be read, or contradicts itself.
        BenchmarkError: The folder of images is missing.
        FolderError: The folder of distractors is missing or empty.
    """
    truth = read_revisited(directory / f"gnd_{name}.pkl")
    images = directory / "jpg"
    if not images.is_dir():
        raise BenchmarkError("is not there; it holds the benchmark's images, name.jpg", item=str(images))
    root = str(images)
    queries = [
        Photograph(image, image, partial(_load_query, images / f"{image}.jpg", known.bbx, min_side))
        for image, known in zip(truth.qimlist, truth.gnd, strict=True)
    ]
    gallery = [Photograph(one, one, partial(load_below, root, f"{one}.jpg", min_side)) for one in truth.imlist]
    description = f"Revisited {name}, queries cropped to their boxes"
    if distractors is not None:
        others = unlabelled_photographs(distractors, min_side=min_side)
        gallery += [Photograph(f"distractors/{one.name}", one.instance, one.load) for one in others]
        description += f", with {len(others)} distractors"
    judgements = tuple(_judgements(truth, setup) for setup in SETUPS if _has_positives(truth, setup))
    return Benchmark(name, description, "trapezoid", queries, gallery, judgements)


def _judgements(truth: RevisitedGroundTruth, setup: Setup) -> Judgements:
    return Judgements(
        setup=setup,
        relevant=Ragged.of(query.relevant(setup) for query in truth.gnd),
        ignored=Ragged.of(query.ignored(setup) for query in truth.gnd),
        members=np.ones(len(truth.gnd), np.bool_),
    )


def _has_positives(truth: RevisitedGroundTruth, setup: Setup) -> bool:
    return any(len(query.relevant(setup)) for query in truth.gnd)


def _load_query(path: Path, box: tuple[float, float, float, float], min_side: int | None) -> NDArray[np.uint8]:
    data = read_photograph(path)
    crop = crop_of_stored_box(data, box, name=str(path))
    return decode_image(data, _LIMITS, min_side=min_side, crop=crop, name=str(path)).pixels


def crop_of_stored_box(data: bytes, box: Box, *, name: str) -> Crop:
    """Return the crop, in pixels of the upright photograph, of a box in pixels of the stored one.

    The official code of Revisited Oxford and Paris crops first and ignores the orientation, so its boxes refer to
    the stored pixels. Edges are rounded to whole pixels as in Pillow's crop, and limited to the photograph.

    Args:
        data: The image file.
        box: Left, top, right and bottom edge.
        name: Name of the image, for errors.

    Raises:
        ImageError: Not an image.
        InvalidCropError: The box is outside the photograph.
    """
    try:
        image = open_image(data)
        size, orientation = image.size, exif_orientation(image)
    except ImageError as error:
        error.item = name
        raise
    width, height = size
    inside = tuple(min(max(round(edge), 0), far) for edge, far in zip(box, (width, height) * 2, strict=True))
    lengths = (width, height, width, height)
    left, top, right, bottom = (
        lengths[edge] - inside[edge] if far else inside[edge] for edge, far in _TURNS[orientation]
    )
    return Crop(left, top, right, bottom)
