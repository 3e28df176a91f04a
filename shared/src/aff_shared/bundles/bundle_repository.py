"""The model bundles of a directory, by name and by embedding space."""

from __future__ import annotations

import logging
from pathlib import Path

from aff_shared.bundles.bundle import load_manifest
from aff_shared.errors import BundleError, BundleUnknownError

_logger = logging.getLogger(__name__)


class BundleRepository:
    """The parent directory of a service's bundle, and the bundles in it.

    Args:
        default: Directory of the bundle that the service starts with.
    """

    def __init__(self, default: Path) -> None:
        self.default = default
        self._root = default.absolute().parent

    def named(self, name: str) -> Path:
        """Return the directory of a bundle.

        Raises:
            BundleUnknownError: There is no bundle with this name, or it is a path.
        """
        path = self._root / name
        if path.parent != self._root or not (path / "bundle.json").is_file():
            known = ", ".join(path.name for path in self._bundles()) or "none"
            raise BundleUnknownError(f"there is no such bundle next to the service's own; there are {known}", item=name)
        return path

    def of_space(self, space_id: str) -> Path | None:
        """Return the directory of a bundle of an embedding space, preferably the default one; None without one."""
        for path in [self.default, *self._bundles()]:
            try:
                if load_manifest(path).space.id == space_id:
                    return path
            except BundleError as error:
                _logger.warning("ignored a bundle: %s", error)
        return None

    def _bundles(self) -> list[Path]:
        return sorted(path.parent for path in self._root.glob("*/bundle.json"))
