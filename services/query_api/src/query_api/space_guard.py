"""Lets no search compare vectors of different embedding spaces."""

from __future__ import annotations

import time

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.gallery_store.gallery_store import GalleryStore


class SpaceGuard:
    """Checks that the gallery was written in the encoder's space, and trusts a good answer for a short while.

    Only good answers are kept, so a gallery that appears later is noticed by the next request.
    """

    def __init__(self, store: GalleryStore, space: EmbeddingSpace, interval_s: float) -> None:
        self._store = store
        self._space = space
        self._interval_s = interval_s
        self._trusted_until = -1.0

    async def require_same_space(self) -> None:
        """Return when the spaces are equal.

        Raises:
            EmbeddingSpaceMismatchError: The gallery is of another space.
            GalleryMissingError: No gallery has been created.
            StoreUnavailableError: The store cannot be asked.
        """
        now = time.monotonic()
        if now < self._trusted_until:
            return
        self._space.require_same(await self._store.space(), here="the query encoder", there="the gallery")
        self._trusted_until = now + self._interval_s
