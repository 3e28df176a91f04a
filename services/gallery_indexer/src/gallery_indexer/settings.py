"""Settings of the gallery indexer, read from `AFF_INDEX_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.images.decoding import ImageLimits
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import ListenSettings, queued_bytes

_MIB = 2**20


class IndexerSettings(ListenSettings):
    """How the gallery indexer runs; how it listens is told by `ListenSettings`.

    Attributes:
        bundle_path: Directory of the model bundle; the bundles of other collections are looked for beside it.
        bundle_public_key: minisign's, in base64; bundles have to be signed with it then.
        device: Where the encoder runs; `auto` takes CUDA where there is a card.
        max_images_per_request: Most images in one request.
        max_payload_bytes: Largest payload of an image, as compact JSON.
        image_limits: What an image may be before it is decoded.
        batch_size: Most images that are embedded, or written, together, whichever requests they came with.
        batch_wait_ms: Longest wait of an idle encoder for images that are being decoded, before a smaller batch is
            embedded.
        decode_workers: Threads or processes that decode photographs and bring them to the input sizes; as many as
            cores.
        max_large_pixels: Most pixels of large images (more than `image_limits.large_pixels`) that are decoded at once;
            one that comes alone may have more. Others wait.
        worker_processes: Whether photographs are decoded, and the encoder runs, in processes of their own: `auto` has
            it so where the encoder runs on a card, which the service's threads would keep waiting.
        decode_timeout_s: Longest time for an image in a process that decodes; then that is killed and started anew, and
            the image rejected.
        encode_timeout_s: Longest time for an image in the encoder's process; a batch has so much for each of its
            images. Then that is killed and started anew, and the batch halved until the image at fault stands alone.
        store_wait_s: Longest wait for a store that is away; nothing is lost meanwhile.
        create_gallery: When an empty gallery is begun by itself: `auto` where the store has never held one, `always`
            where it holds none when the service starts, `never` unless `aff gallery create` asks for it. One that is
            lost while the service runs is never begun anew.
        url_sources: Whether images may be named by their URLs, which the service then gets.
        url_schemes: Schemes of such URLs.
        url_hosts: Hosts that may be asked, and hosts below a name that begins with a dot; none means any. The addresses
            have to be public in any case.
        url_timeout_s: Longest time for one image, redirects included.
        url_max_redirects: Most redirects on the way to an image; each is checked like the URL itself.
        source_root: Directory below which images may be named by their paths; None allows none.
        backups_path: Directory of backups; None allows none.
        thumbnail_side: Pixels of the longer side of the thumbnails that are kept; 0 keeps none.
        thumbnail_quality: Of their WebP compression.
        kept_tokens_path: Directory in which the extractors' features of indexed images are kept, so that another mixer
            can fuse them again; None keeps none.
        catalogue_interval_s: Longest time until a collection that another process made, switched or dropped is noticed;
            less than a restoration waits before it drops the former collections of a server.
        store: Which Qdrant holds the gallery (`QDRANT_*`).
    """

    model_config = SettingsConfigDict(env_prefix="AFF_INDEX_", env_nested_delimiter="__", frozen=True)

    port: Annotated[int, Field(ge=0, le=65_535)] = 8002
    body_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    max_body_bytes: Annotated[int, Field(ge=1)] = 128 * _MIB
    max_queued_bytes: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: queued_bytes(512 * _MIB))
    bundle_path: Path = Field(default_factory=default_bundle)
    bundle_public_key: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_images_per_request: Annotated[int, Field(ge=1, le=4096)] = 256
    max_payload_bytes: Annotated[int, Field(ge=2)] = 64 * 1024
    image_limits: ImageLimits = ImageLimits()
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 16
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 20.0
    decode_workers: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=usable_cores)
    max_large_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    worker_processes: Literal["auto", "always", "never"] = "auto"
    decode_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    encode_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    store_wait_s: Annotated[float, Field(ge=0)] = 60.0
    create_gallery: Literal["auto", "always", "never"] = "auto"
    url_sources: bool = False
    url_schemes: tuple[Literal["http", "https"], ...] = ("https",)
    url_hosts: tuple[str, ...] = ()
    url_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    url_max_redirects: Annotated[int, Field(ge=0, le=20)] = 3
    source_root: Path | None = None
    backups_path: Path | None = None
    thumbnail_side: Annotated[int, Field(ge=0, le=1024)] = 0
    thumbnail_quality: Annotated[int, Field(ge=1, le=100)] = 75
    kept_tokens_path: Path | None = None
    catalogue_interval_s: Annotated[float, Field(ge=0, le=4)] = 2.0
    store: StoreSettings = Field(default_factory=StoreSettings)
