"""Components that the composition root passes to the routes."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from query_api.search.active_model import ActiveModel
from query_api.search.browse_gallery import BrowseGallery
from query_api.search.search_gallery import SearchGallery
from query_api.search.search_queue import SearchQueue
from query_api.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class Components:
    """The collaborators of the running service."""

    settings: QuerySettings
    gallery: ActiveModel
    search_gallery: SearchGallery
    browse_gallery: BrowseGallery
    queue: SearchQueue


def components_of(request: Request) -> Components:
    """Return the components of a request's service; as a FastAPI dependency they would cost more than routing."""
    components: Components = request.app.state.components
    return components
