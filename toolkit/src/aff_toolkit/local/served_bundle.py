"""Which bundle a gallery is going to be served with, in words."""

from __future__ import annotations

from pathlib import Path

from aff_shared.bundles.bundle import load_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import StoreError
from aff_shared.store.gallery_catalogue import GalleryCatalogue, live_one


async def describe_served_bundle(bundle: Path, catalogue: GalleryCatalogue) -> str:
    """Return which bundle searches and indexing use: the one that is named, or that of the gallery's embedding space.

    Args:
        bundle: Directory of the bundle that is named.
        catalogue: The gallery; where it is away, nothing is known of it yet.

    Raises:
        BundleError: The bundle that is named cannot be read.
    """
    named = load_manifest(bundle)
    try:
        live = live_one(await catalogue.collections())
    except StoreError:
        return f"bundle {named.title}"
    if live.space == named.space:
        return f"bundle {named.title}"
    why = f"this gallery is of another embedding space than bundle {named.title}"
    following = (
        f"For a collection of {named.name}: aff gallery build SOURCE --bundle {bundle.name}, then "
        "aff gallery switch; or serve an empty --gallery"
    )
    path = BundleRepository(bundle).of_space(live.space.id)
    if path is None:
        return f"Warning: {why}, and no bundle of its space lies beside it: searches will be refused. {following}"
    return f"Warning: {why}. Its live collection is searched with bundle {load_manifest(path).title}. {following}"
