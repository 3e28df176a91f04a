"""Settings of the query service, read from `AFF_QUERY_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, DirectoryPath, Field, model_validator
from pydantic_settings import SettingsConfigDict

from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.images.decoding import ImageLimits
from aff_shared.resource_limits import usable_cores
from aff_shared.schemas.text_forms import checked_http_url
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import ListenSettings

_MIB = 2**20


def _indexer_url(given: str) -> str:
    given = given.strip().rstrip("/")
    return given if not given or (given.startswith("/") and not given.startswith("//")) else checked_http_url(given)


class QuerySettings(ListenSettings):
    """Settings of the query service; `ListenSettings` has those of its server.

    Attributes:
        bundle_path: Directory of the model bundle; bundles of other live collections are searched next to it.
        bundle_public_key: minisign public key in base64; if it is set, bundles must be signed with it.
        image_limits: Limits on a photograph, checked before it is decoded.
        default_limit: Maximum number of hits if a search does not set `limit`; at most `max_limit`.
        max_limit: Maximum of the option `limit`.
        max_images_per_request: Maximum number of photographs in one request.
        max_active_searches: Maximum number of concurrent searches.
        max_waiting_searches: Maximum number of waiting searches; others are answered with 429 immediately.
        max_wait_ms: Maximum wait, in milliseconds; then the search is answered with 429.
        expansion_alpha: Exponent of the similarities that weight the hits of a query expansion; 0 weights all equally.
        group_reach: Maximum number of images that are searched for hits of different groups.
        search_threads: Requests whose photographs are decoded and encoded at the same time; two for each core, so that
            no core is idle while the next request is passed on.
        onnx_threads: Threads that ONNX Runtime uses for one photograph.
        max_large_pixels: Maximum pixels of large photographs (over `image_limits.large_pixels`) that are decoded at a
            time; a single one may have more. Up to half of `max_active_searches` wait for that, no longer
            than `max_wait_ms`; others are answered with 429.
        embed_timeout_s: Maximum time to decode and encode a photograph, in seconds; a request with several has as much
            for each. Then the worker process is killed and restarted, and the request rejected.
        precision: Precision of the query encoder: `fp32`, `int8`, or `auto` for int8 where the bundle has it.
        page: Whether the web page is served at `/`.
        page_indexer_url: Address of the gallery indexer to which the page sends photographs: a URL, whose indexer
            lists the page's origin in `AFF_ACCESS_CORS_ORIGINS`, or a path on the page's own origin, such as
            `/indexer`, that a proxy passes on. Empty means that nothing can be added on the page.
        originals_dir: Directory of the photographs, which `GET /originals` sends; ids are paths below it. None sends
            none.
        space_check_interval_s: Maximum delay until searches use a collection that became live, in seconds.
        store: Which Qdrant holds the gallery (`QDRANT_*`).
    """

    model_config = SettingsConfigDict(env_prefix="AFF_QUERY_", env_nested_delimiter="__", frozen=True)

    port: Annotated[int, Field(ge=0, le=65_535)] = 8001
    body_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    max_body_bytes: Annotated[int, Field(ge=1)] = 33 * _MIB
    bundle_path: Path = Field(default_factory=default_bundle)
    bundle_public_key: str | None = None
    image_limits: ImageLimits = ImageLimits()
    default_limit: Annotated[int, Field(ge=1)] = 10
    max_limit: Annotated[int, Field(ge=1)] = 1000
    max_images_per_request: Annotated[int, Field(ge=1, le=256)] = 16
    max_active_searches: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: 4 * usable_cores())
    max_waiting_searches: Annotated[int, Field(ge=0)] = Field(default_factory=lambda: 8 * usable_cores())
    max_wait_ms: Annotated[float, Field(gt=0)] = 1000.0
    expansion_alpha: Annotated[float, Field(ge=0, le=100)] = 3.0
    group_reach: Annotated[int, Field(ge=1, le=100_000)] = 4096
    search_threads: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=lambda: 2 * usable_cores())
    onnx_threads: Annotated[int, Field(ge=1, le=256)] = 1
    max_large_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    embed_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    precision: Literal["auto", "fp32", "int8"] = "auto"
    page: bool = True
    page_indexer_url: Annotated[str, AfterValidator(_indexer_url)] = ""
    originals_dir: DirectoryPath | None = None
    space_check_interval_s: Annotated[float, Field(ge=0)] = 2.0
    store: StoreSettings = Field(default_factory=StoreSettings)

    @model_validator(mode="after")
    def _default_is_allowed(self) -> QuerySettings:
        if self.default_limit > self.max_limit:
            raise ValueError(f"default_limit {self.default_limit} is over max_limit {self.max_limit}")
        return self
