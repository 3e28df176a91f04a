"""Adds the default bundle to the wheel, so that `aff serve` and `aff demo` work without a checkout."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DefaultBundle(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `bundles/photos` of the checkout, if there is one; the images have their bundle in another place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the directory to the files of a wheel that is not editable."""
        bundle = Path(self.root).parent / "bundles" / "photos"
        if version != "editable" and bundle.is_dir():
            build_data["force_include"][str(bundle)] = "aff_toolkit/bundles/photos"
