"""What the routes work with, put together by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from aff_contracts.bundle import BundleManifest
from query_api.search_gallery import SearchGallery
from query_api.settings import QuerySettings
from query_api.space_guard import SpaceGuard


@dataclass(frozen=True, slots=True)
class Components:
    """The collaborators of the running service."""

    settings: QuerySettings
    manifest: BundleManifest
    guard: SpaceGuard
    search_gallery: SearchGallery


def _of_request(request: Request) -> Components:
    components: Components = request.app.state.components
    return components


CurrentComponents = Annotated[Components, Depends(_of_request)]
