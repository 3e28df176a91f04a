"""Fills the new collections of a rebuilt gallery from stored features, without a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import RemixError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.gallery import GalleryJob
from gallery_indexer.app import create_app
from gallery_indexer.components import Components
from gallery_indexer.settings import IndexerSettings


async def fill_from_tokens(settings: IndexerSettings, spaces: Sequence[EmbeddingSpace]) -> list[GalleryJob]:
    """Recompute the embeddings of the live collection's images for each space whose bundle exists.

    Args:
        settings: Settings of the indexer, with its gallery, bundles and stored features.
        spaces: Embedding spaces of collections that are not live. Spaces without a bundle, or with other extractors
            than the live one's, are skipped.

    Returns:
        The finished jobs of the other spaces.

    Raises:
        BundleError: The bundle of the settings cannot be used.
        StoreError: The gallery cannot be opened.
    """
    if settings.kept_tokens_path is None or not spaces:
        return []
    bundles, filled = BundleRepository(settings.bundle_path), []
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        components: Components = app.state.components
        for space in spaces:
            bundle = await asyncio.to_thread(bundles.of_space, space.id)
            if bundle is None:
                continue
            try:
                job = await components.jobs.start(
                    "remix", bundle.name, partial(components.remix_gallery.prepare, bundle.name)
                )
            except RemixError:
                continue
            filled.append(await components.jobs.ended(job.id))
    return filled
