"""Reads a pickle of plain data and refuses one that names anything that could run."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar

from aff_shared.errors import AffError

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


class GroundTruthError(AffError):
    """A file of ground truth cannot be used."""

    code = "ground_truth_invalid"
    status = 422
    title = "Unusable ground truth"


class _RestrictedUnpickler(pickle.Unpickler):
    """Admits numbers, strings, lists, dictionaries and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """Give an admitted global; every other one is refused before it is imported."""
        if (module, name) not in _ADMITTED:
            raise GroundTruthError(f"names {module}.{name}, which plain data does not need: it is not read")
        return _ADMITTED[module, name]


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds plain data and numpy arrays.

    Raises:
        GroundTruthError: It cannot be read, is no pickle, or names something that could run.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise GroundTruthError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except GroundTruthError as error:
        raise GroundTruthError(error.detail, item=str(path)) from error
    except Exception as error:
        raise GroundTruthError(f"is no pickle of ground truth: {error}", item=str(path)) from error
