"""The bundle of the tests: small enough to load and run in moments, and too weak for anything else.

`make tests-bundle` trains it again from `tests/bundles/tiny.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest

TINY_BUNDLE = Path(__file__).parents[1] / "bundles" / "tiny"
TINY_BUNDLE_RECIPE = TINY_BUNDLE.with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class TinyBundle:
    """A small bundle on disk, which tests leave as it is."""

    bundle: Path
    manifest: BundleManifest
