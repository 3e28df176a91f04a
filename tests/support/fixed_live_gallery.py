"""A LiveGallery of one encoder, whose bundle lies nowhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aff_shared.bundles.bundle_shelf import BundleShelf
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import GalleryCatalogue
from query_api.search.live_gallery import LiveGallery, LoadedEncoder


def fixed_live_gallery(
    catalogue: GalleryCatalogue, space: EmbeddingSpace, encoder: Any, *, interval_s: float
) -> LiveGallery:
    manifest = SimpleNamespace(space=space, fingerprint="f" * 64)
    first = LoadedEncoder(cast("Any", manifest), encoder)
    return LiveGallery(catalogue, BundleShelf(Path("nowhere/bundle")), first, _refuse, interval_s)


async def _refuse(path: Path) -> LoadedEncoder:
    raise AssertionError(f"there is no other bundle, and {path} is none")
