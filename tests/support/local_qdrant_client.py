"""qdrant-client's local mode, corrected where its responses differ from a server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import httpx
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

_NEED_A_COLLECTION = ("get_collection", "upsert", "retrieve", "delete", "query_points", "count", "scroll", "facet")


def make_local_qdrant_client(directory: Path | None = None) -> AsyncQdrantClient:
    """Return a client of the local mode, in memory or in a directory.

    A missing collection is a 404, as from a server, not a ValueError.
    """
    client = AsyncQdrantClient(":memory:") if directory is None else AsyncQdrantClient(path=str(directory))
    for name in _NEED_A_COLLECTION:
        setattr(client, name, _answering_404(getattr(client, name)))
    client.create_payload_index = _index_nothing  # type: ignore[method-assign]
    return client


async def _index_nothing(*_args: Any, **_kwargs: Any) -> models.UpdateResult:
    """Replace a method that warns: the local mode has no indexes, and orders and counts without them."""
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _answering_404(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(collection_name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(collection_name, *args, **kwargs)
        except ValueError as error:
            if str(error) != f"Collection {collection_name} not found":
                raise
            raise UnexpectedResponse(404, "Not Found", str(error).encode(), httpx.Headers()) from error

    return call
