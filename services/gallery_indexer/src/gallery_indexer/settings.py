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
    """Settings of the gallery indexer, in addition to those of `ListenSettings`.

    Attributes:
        bundle_path: Directory of the model bundle; its parent directory is searched for bundles of other collections.
        bundle_public_key: A minisign public key in base64; if set, bundles have to be signed with it.
        device: Device of the encoder; `auto` is CUDA if there is a GPU.
        extractor_engine: Engine of the extractors on a CPU: `onnxruntime`, for those that are faster in it, or
            `torch`. Embeddings differ by rounding only.
        max_images_per_request: Largest number of images in a request.
        max_payload_bytes: Largest payload of an image, as compact JSON.
        image_limits: Limits of images before they are decoded.
        batch_size: Largest number of images that are embedded or written together, of any requests.
        batch_wait_ms: Longest wait of an idle encoder for images in preparation, before a smaller batch is embedded.
        decode_workers: Number of threads or processes that decode and resize photographs; the cores by default.
        max_large_pixels: Most pixels of large images (more than `image_limits.large_pixels`) that are decoded at a
            time; others wait. A single image may have more.
        worker_processes: Whether decoding and the encoder run in separate processes: `auto` if the encoder runs on a
            GPU, which the service's threads would delay.
        jpeg_decoder: Decoder of JPEG files: `cpu`, or `nvimgcodec` for those that it decodes on a GPU.
        decode_timeout_s: Longest time for an image in a decoding process; then the process is replaced and the image
            rejected.
        encode_timeout_s: Longest time for an image in the encoder's process, multiplied by the number of images of a
            batch; then the process is replaced, and the batch halved until the image at fault is alone.
        store_wait_s: Longest wait for an unavailable store; no image is lost meanwhile.
        create_gallery: When an empty gallery is created automatically: `auto` if the store never had one, `always` if
            it has none when the service starts, `never` only by `aff gallery create`. A gallery that is deleted while
            the service runs is never created again automatically.
        url_sources: Whether images may be named by URL, which the service then fetches.
        url_schemes: Allowed schemes of such URLs.
        url_hosts: Allowed hosts; a name with a leading dot allows its subdomains, an empty list any host. Addresses
            have to be public in any case.
        url_timeout_s: Longest time for one image, redirects included.
        url_max_redirects: Largest number of redirects per image; each is checked like the URL.
        source_root: Directory below which images may be named by path; None allows no paths.
        location: Whether the details of images include the position that the camera recorded.
        backups_path: Directory of backups; None allows no backups.
        thumbnail_side: Longer side of stored thumbnails in pixels; 0 stores none.
        thumbnail_quality: Quality of their WebP compression.
        kept_tokens_path: Directory of the cached features of indexed images, from which another mixer can embed them;
            None caches none.
        catalogue_interval_s: Longest time until a collection that another process created, switched or dropped is
            detected; shorter than a restoration's wait before it drops the former collections of a server.
        store: Settings of the Qdrant store (`QDRANT_*`).
    """

    model_config = SettingsConfigDict(env_prefix="AFF_INDEX_", env_nested_delimiter="__", frozen=True)

    port: Annotated[int, Field(ge=0, le=65_535)] = 8002
    body_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    max_body_bytes: Annotated[int, Field(ge=1)] = 128 * _MIB
    max_queued_bytes: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: queued_bytes(512 * _MIB))
    bundle_path: Path = Field(default_factory=default_bundle)
    bundle_public_key: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    extractor_engine: Literal["onnxruntime", "torch"] = "onnxruntime"
    max_images_per_request: Annotated[int, Field(ge=1, le=4096)] = 256
    max_payload_bytes: Annotated[int, Field(ge=2)] = 64 * 1024
    image_limits: ImageLimits = ImageLimits()
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 16
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 20.0
    decode_workers: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=usable_cores)
    max_large_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    worker_processes: Literal["auto", "always", "never"] = "auto"
    jpeg_decoder: Literal["cpu", "nvimgcodec"] = "cpu"
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
    location: bool = True
    backups_path: Path | None = None
    thumbnail_side: Annotated[int, Field(ge=0, le=1024)] = 320
    thumbnail_quality: Annotated[int, Field(ge=1, le=100)] = 75
    kept_tokens_path: Path | None = None
    catalogue_interval_s: Annotated[float, Field(ge=0, le=4)] = 2.0
    store: StoreSettings = Field(default_factory=StoreSettings)
