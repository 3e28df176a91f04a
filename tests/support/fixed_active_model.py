"""An ActiveModel of one encoder, without a bundle on disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import GalleryCatalogue
from query_api.search.active_model import ActiveModel, LoadedEncoder


def fixed_active_model(
    catalogue: GalleryCatalogue, space: EmbeddingSpace, encoder: Any, *, interval_s: float
) -> ActiveModel:
    manifest = SimpleNamespace(space=space, fingerprint="f" * 64, score_levels=None)
    first = LoadedEncoder(cast("Any", manifest), encoder)
    return ActiveModel(catalogue, BundleRepository(Path("nowhere/bundle")), first, _refuse, interval_s)


async def _refuse(path: Path) -> LoadedEncoder:
    raise AssertionError(f"{path} is not a bundle")
