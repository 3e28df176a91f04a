"""Ground truth of Revisited Oxford and Paris (Radenovic et al., CVPR 2018)."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.errors import GroundTruthError

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
