"""What the routes work with, put together by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from query_api.live_gallery import LiveGallery
from query_api.search_gallery import SearchGallery
from query_api.search_queue import SearchQueue
from query_api.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class Components:
    """The collaborators of the running service."""

    settings: QuerySettings
    gallery: LiveGallery
    search_gallery: SearchGallery
    queue: SearchQueue


async def _of_request(request: Request) -> Components:  # one that is not async would cost a thread's turn
    components: Components = request.app.state.components
    return components


CurrentComponents = Annotated[Components, Depends(_of_request)]
