"""Settings of the gallery store, read from `QDRANT_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from aff_shared.schemas.payload_filter import PayloadKey
from aff_shared.schemas.payload_schema import DETAILS_SCHEMA, PayloadType
from aff_shared.schemas.text_forms import checked_http_url

Quantization = Literal["none", "int8", "turbo8", "turbo4", "turbo2", "turbo1", "binary"]
MemoryPlacement = Literal["cold", "cached", "pinned"]


class StoreSettings(BaseSettings):
    """Settings of the gallery store. With a `url` it is a Qdrant server, otherwise the embedded engine at `edge_path`.

    Attributes:
        url: Server's REST address, for example `http://qdrant:6333`, or those of a cluster's nodes, separated by
            commas; each address that a name stands for counts as a node. It may have a path. Without a port it is 6333
            for `http`, and 443 for `https`. Empty means embedded.
        api_key: Key sent to the server.
        api_key_file: File that holds it, where the key is not given.
        grpc_port: Port of the server's gRPC interface; bulk traffic goes there.
        prefer_grpc: Use gRPC rather than REST. None means gRPC, except where an address has a path, or is `https`
            without a port, as behind a proxy.
        ca_cert_path: PEM file of the authority that signed the server's certificate (https addresses).
        collection: Public name of the gallery. In a server it is an alias; a collection of the name
            `<collection>-<space id>` stands behind it.
        collection_prefix: Prefix of the names of the alias and of the collections on a server.
        timeout_s: Maximum wait for one call to the server.
        read_timeout_s: Maximum wait for a search or another read, as long as there is another node to ask.
        node_pause_s: How long a failed node is left out before it is checked again, in seconds.
        max_retries: How often a call is tried again after it could not be delivered or timed out.
        retry_backoff_s: Pause before the first retry on the same node; doubled for each further one, with jitter.
        rate_limit_wait_s: Maximum wait for the server's rate limit within one write or read of several parts, in
            seconds.
        upsert_batch_size: Points per upsert call.
        indexing_threshold_kb: Kilobytes of unindexed vectors from which an HNSW graph is built; comparing with fewer
            is as fast, and exact.
        edge_path: Directory of the embedded engine.
        shard_number: Shards of a collection on a server; None leaves it to the server.
        replication_factor: Copies of each shard on a cluster; None leaves it to the server.
        write_consistency_factor: Copies that a write has to reach; None leaves it to the server.
        read_fan_out_delay_ms: Milliseconds after which a node that waits for another node's shard also queries the
            shard's next copy (servers from 1.17 on, copies on more than one node); 0 disables it.
        quantization: Compression of vectors: `int8` to a quarter, `turbo8` to `turbo1` to that many bits per
            number, `binary` to one bit.
        rescore: Whether the hits of compressed vectors are compared again with the vectors themselves.
        oversampling: Factor of candidates for rescoring to requested hits.
        vectors_memory: Placement of vectors: `cold` on disk, `cached`, `pinned` in memory (servers from 1.19 on); None
            leaves it to the store.
        quantized_memory: Placement of compressed vectors, with the same values.
        hnsw_m: Edges of a node of the HNSW graph; None leaves it to the store.
        hnsw_ef_construct: Neighbours that are considered when the graph is built; None leaves it to the store.
        search_ef: Nodes that a search of the graph keeps; more is slower and finds more.
        payload_schema: Payload keys that filters use, with their types; they are indexed, and a payload with a
            value of another type is rejected. Without it, the details of photographs (`DETAILS_SCHEMA`) are indexed,
            and every payload is accepted.
    """

    model_config = SettingsConfigDict(env_prefix="QDRANT_", frozen=True, extra="ignore")

    url: str = ""
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    grpc_port: Annotated[int, Field(ge=1, le=65_535)] = 6334
    prefer_grpc: bool | None = None
    ca_cert_path: Path | None = None
    collection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,128}$")] = "gallery"
    collection_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{0,64}$")] = ""
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    read_timeout_s: Annotated[float, Field(gt=0)] = 0.7
    node_pause_s: Annotated[float, Field(gt=0)] = 10.0
    max_retries: Annotated[int, Field(ge=0, le=10)] = 3
    retry_backoff_s: Annotated[float, Field(ge=0)] = 0.2
    rate_limit_wait_s: Annotated[float, Field(ge=0)] = 600.0
    upsert_batch_size: Annotated[int, Field(ge=1, le=4096)] = 128
    indexing_threshold_kb: Annotated[int, Field(ge=1)] = 20_000
    edge_path: Path = Path("data/gallery")
    shard_number: Annotated[int, Field(ge=1)] | None = None
    replication_factor: Annotated[int, Field(ge=1)] | None = None
    write_consistency_factor: Annotated[int, Field(ge=1)] | None = None
    read_fan_out_delay_ms: Annotated[int, Field(ge=0)] = 150
    quantization: Quantization = "none"
    rescore: bool = True
    oversampling: Annotated[float, Field(ge=1, le=100)] = 2.0
    vectors_memory: MemoryPlacement | None = None
    quantized_memory: MemoryPlacement | None = None
    hnsw_m: Annotated[int, Field(ge=2, le=512)] | None = None
    hnsw_ef_construct: Annotated[int, Field(ge=4)] | None = None
    search_ef: Annotated[int, Field(ge=1)] = 200
    payload_schema: dict[PayloadKey, PayloadType] = Field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        """The addresses of `url`."""
        return self.url.split(",")

    @property
    def indexed_keys(self) -> dict[PayloadKey, PayloadType]:
        """The payload keys that are indexed, with their types."""
        return self.payload_schema or dict(DETAILS_SCHEMA)

    @property
    def gallery(self) -> str:
        """The name of the gallery on a server."""
        return self.collection_prefix + self.collection

    @property
    def over_grpc(self) -> bool:
        """Whether calls use gRPC."""
        if self.prefer_grpc is not None:
            return self.prefer_grpc
        return not any(path_of(url) or (url.startswith("https://") and not urlsplit(url).port) for url in self.urls)

    @field_validator("url")
    @classmethod
    def _are_urls(cls, given: str) -> str:
        addresses = [address.strip() for address in given.split(",") if address.strip()]
        return ",".join(checked_http_url(address if "://" in address else f"http://{address}") for address in addresses)

    @model_validator(mode="after")
    def _reach_grpc(self) -> Self:
        below = next((url for url in self.urls if path_of(url)), None)
        if self.prefer_grpc and below is not None:
            raise ValueError(
                f"gRPC does not support the path of QDRANT_URL={below}: leave out QDRANT_PREFER_GRPC, so that REST is "
                "used, or set QDRANT_URL to an address without a path"
            )
        return self


def path_of(url: str) -> str:
    """Return the path of a server's address, empty if there is none."""
    return urlsplit(url).path.rstrip("/")
