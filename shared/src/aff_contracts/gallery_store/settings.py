"""Settings of the gallery store, read from `QDRANT_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """Which Qdrant holds the gallery. With a `url` it is a server, else the embedded engine at `edge_path`.

    Attributes:
        url: Server's REST address, for example `http://qdrant:6333`; empty means embedded.
        api_key: Key sent to the server.
        grpc_port: Port of the server's gRPC interface; bulk traffic goes there.
        prefer_grpc: Use gRPC rather than REST.
        ca_cert_path: PEM file of the authority that signed the server's certificate (https addresses).
        collection: Public name of the gallery. In a server it is an alias; a collection of the name
            `<collection>-<space id>` stands behind it.
        timeout_s: Longest wait for one call to the server.
        max_retries: How often a call is tried again after it could not be delivered or timed out.
        retry_backoff_s: Pause before the first retry; doubled for each further one, with jitter.
        upsert_batch_size: Points per upsert call.
        indexing_threshold_kb: Kilobytes of unindexed vectors from which an HNSW graph is built; comparing with fewer
            is as fast, and exact.
        edge_path: Directory of the embedded engine.
    """

    model_config = SettingsConfigDict(env_prefix="QDRANT_", frozen=True, extra="ignore")

    url: str = ""
    api_key: SecretStr | None = None
    grpc_port: Annotated[int, Field(ge=1, le=65_535)] = 6334
    prefer_grpc: bool = True
    ca_cert_path: Path | None = None
    collection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,128}$")] = "gallery"
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    max_retries: Annotated[int, Field(ge=0, le=10)] = 3
    retry_backoff_s: Annotated[float, Field(ge=0)] = 0.2
    upsert_batch_size: Annotated[int, Field(ge=1, le=4096)] = 128
    indexing_threshold_kb: Annotated[int, Field(ge=1)] = 20_000
    edge_path: Path = Path("data/gallery")
