"""Settings of the query service, read from `AFF_QUERY_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.images.decoding import ImageLimits
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import ListenSettings

_MIB = 2**20


class QuerySettings(ListenSettings):
    """How the query service runs; how it listens is told by `ListenSettings`.

    Attributes:
        bundle_path: Directory of the model bundle; that of another live collection is looked for beside it.
        bundle_public_key: minisign's, in base64; bundles have to be signed with it then.
        image_limits: What a photograph may be before it is decoded.
        default_limit: Hits of a search that does not say how many; at most `max_limit`.
        max_limit: Most hits that a search may ask for.
        max_images_per_request: Most photographs in one request.
        max_active_searches: Searches that are worked on at the same time.
        max_waiting_searches: Most searches that wait for their turn; more are answered with 429 at once.
        max_wait_ms: Longest wait for a turn; then the search is answered with 429.
        expansion_alpha: Exponent of the similarities that weight the hits of a query expansion; 0 weights all alike.
        group_reach: Most images that are looked through for hits of different groups.
        search_threads: Requests whose photographs are decoded and encoded at the same time; two for each core, so that
            none of these waits until the next one is handed out.
        onnx_threads: Threads that ONNX Runtime uses for one photograph.
        max_large_pixels: Most pixels of large photographs (more than `image_limits.large_pixels`) that are decoded at a
            time; one that comes alone may have more. Half as many as may be worked on wait for that, no longer
            than `max_wait_ms`; others are answered with 429.
        embed_timeout_s: Longest time in which a photograph is decoded and encoded; a request with several has so much
            for each. Then the process that does it is killed and started anew, and the request rejected.
        precision: Of the query encoder: `fp32`, `int8`, or `auto` for int8 where the bundle has it.
        page: Whether the page for people is served at `/`.
        space_check_interval_s: Longest time until a search notices that another collection is live.
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
    space_check_interval_s: Annotated[float, Field(ge=0)] = 2.0
    store: StoreSettings = Field(default_factory=StoreSettings)

    @model_validator(mode="after")
    def _default_is_allowed(self) -> QuerySettings:
        if self.default_limit > self.max_limit:
            raise ValueError(f"default_limit {self.default_limit} is over max_limit {self.max_limit}")
        return self
