"""Revisited Oxford and Paris (Radenovic et al., CVPR 2018): ground truth and benchmark."""

from __future__ import annotations

import io
import pickle
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aff_shared.errors import ImageError
from aff_shared.images.decoding import Crop, ImageLimits, decode_image
from aff_shared.images.formats import exif_orientation, open_image
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.data.folder import unlabelled_photographs
from aff_toolkit.data.photograph import Photograph, load_below, read_photograph
from aff_toolkit.errors import BenchmarkError, GroundTruthError
from aff_toolkit.evaluation.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.relevance import Ragged

Setup = Literal["easy", "medium", "hard"]
SETUPS: tuple[Setup, ...] = ("easy", "medium", "hard")

_RELEVANT: dict[Setup, tuple[str, ...]] = {"easy": ("easy",), "medium": ("easy", "hard"), "hard": ("hard",)}
_IGNORED: dict[Setup, tuple[str, ...]] = {"easy": ("junk", "hard"), "medium": ("junk",), "hard": ("junk", "easy")}
# Under the names that numpy 1 and numpy 2 write.
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): value
        for core in ("core", "_core")
        for name, value in (("_reconstruct", _reconstruct), ("scalar", scalar))
    },
}


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


_Rows = Annotated[tuple[int, ...], BeforeValidator(_listed)]
_Box = Annotated[tuple[float, float, float, float], BeforeValidator(_listed)]


class RevisitedQuery(BaseModel):
    """Ground truth of one query.

    Attributes:
        bbx: Left, upper, right and lower edge of the crop, in pixels of the image as it is stored.
        easy: Gallery rows that show the landmark clearly.
        hard: Gallery rows that show the landmark less clearly.
        junk: Rows that count neither way.
    """

    model_config = ConfigDict(frozen=True)

    bbx: _Box
    easy: _Rows
    hard: _Rows
    junk: _Rows

    def relevant(self, setup: Setup) -> np.ndarray:
        """Return the positives of a setup, int64 rows."""
        return self._rows(_RELEVANT[setup])

    def ignored(self, setup: Setup) -> np.ndarray:
        """Return the rows that are removed from the ranking before scoring, int64."""
        return self._rows(_IGNORED[setup])

    def _rows(self, kinds: tuple[str, ...]) -> np.ndarray:
        return np.array([row for kind in kinds for row in getattr(self, kind)], dtype=np.int64)


class RevisitedGroundTruth(BaseModel):
    """A benchmark: names without suffix of gallery and queries, and what is known of each query."""

    model_config = ConfigDict(frozen=True)

    imlist: tuple[str, ...] = Field(min_length=1)
    qimlist: tuple[str, ...] = Field(min_length=1)
    gnd: tuple[RevisitedQuery, ...] = Field(min_length=1)


def read_revisited(path: Path) -> RevisitedGroundTruth:
    """Read the official `gnd_roxford5k.pkl` or `gnd_rparis6k.pkl`.

    Raises:
        GroundTruthError: It cannot be read, holds something else, or contradicts itself.
    """
    try:
        truth = RevisitedGroundTruth.model_validate(read_plain_pickle(path))
    except ValidationError as error:
        raise GroundTruthError(describe_validation_error(error), item=str(path)) from error
    if len(truth.qimlist) != len(truth.gnd):
        detail = f"{len(truth.qimlist)} queries, and ground truth of {len(truth.gnd)}"
        raise GroundTruthError(detail, item=str(path))
    beyond = [row for query in truth.gnd for row in (*query.easy, *query.hard, *query.junk)]
    if beyond and not 0 <= min(beyond) <= max(beyond) < len(truth.imlist):
        raise GroundTruthError(f"names rows beyond the {len(truth.imlist)} gallery images", item=str(path))
    return truth


class _RestrictedUnpickler(pickle.Unpickler):
    """Admits numbers, strings, lists, dictionaries and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed global; reject every other one before it is imported."""
        if (module, name) not in _ADMITTED:
            raise GroundTruthError(f"names {module}.{name}, which plain data does not need")
        return _ADMITTED[module, name]


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds plain data and numpy arrays.

    Raises:
        GroundTruthError: The file cannot be read, is not a pickle, or refers to code.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise GroundTruthError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except GroundTruthError as error:
        raise GroundTruthError(error.detail, item=str(path)) from error
    except Exception as error:
        raise GroundTruthError(f"is not a pickle of ground truth: {error}", item=str(path)) from error


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
    name: RevisitedName,
    path: Path,
    *,
    distractors: Path | None = None,
    min_side: int | None = None,
    images: bool = True,
) -> Benchmark:
    """Return a benchmark with its setups easy, medium and hard; queries are cropped to their boxes.

    Args:
        name: Which one.
        path: Directory with the official `gnd_<name>.pkl`, and the folder `jpg` with the images `<name of image>.jpg`;
            or that file, with the folder next to it.
        distractors: Folder whose image files, at any depth, go into the gallery behind the benchmark's own.
        min_side: See load_photograph_file.
        images: Whether the folder `jpg` has to exist.

    Raises:
        GroundTruthError: The ground truth cannot be read, or contradicts itself.
        BenchmarkError: The folder of images is missing.
        FolderError: The folder of distractors is missing or empty.
    """
    file = path if path.is_file() else path / f"gnd_{name}.pkl"
    truth = read_revisited(file)
    folder = file.parent / "jpg"
    if images and not folder.is_dir():
        raise BenchmarkError("is not there; it holds the benchmark's images, name.jpg", item=str(folder))
    root = str(folder)
    queries = [
        Photograph(image, image, partial(_load_query, folder / f"{image}.jpg", known.bbx, min_side))
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
