"""Requests and responses about the gallery as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_shared.schemas import examples
from aff_shared.schemas.embedding_space import EmbeddingSpace, Sha256
from aff_shared.schemas.indexing import IndexSummary
from aff_shared.schemas.problem import Problem


class CollectionStatus(BaseModel):
    """The gallery in one embedding space.

    Attributes:
        space: Its embedding space.
        live: Whether searches use this collection.
        live_since: Last time at which it became live; null if never, or unknown.
        count: Images in it.
        bundle: Name of the bundle that embeds for it; null if the indexer does not have it, and the collection
            receives no new images.
        fingerprint: Fingerprint of this bundle.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.COLLECTION_STATUS))

    space: EmbeddingSpace
    live: bool
    live_since: datetime | None
    count: int
    bundle: str | None
    fingerprint: Sha256 | None


class IndexActivity(IndexSummary):
    """Work of this indexer since it was started: receipts by status.

    Attributes:
        images_per_s: Receipts per second during the last minute.
        in_flight: Images that are being received or indexed.
    """

    images_per_s: float
    in_flight: int


class KeptTokensStatus(BaseModel):
    """The stored features of indexed images."""

    model_config = ConfigDict(frozen=True)

    images: int
    size_bytes: int


class GalleryStatus(BaseModel):
    """Response of `GET /gallery`: the live collection, and all of them.

    Attributes:
        count: Images in the live collection.
        store: Adapter: `qdrant_edge` or `qdrant_server`.
        bundle: Name of the bundle that embeds for the live collection; null if the indexer does not have it.
        fingerprint: Fingerprint of this bundle.
        space: Embedding space of the live collection.
        collections: All collections; the live one first, then by when they were last live.
        activity: Work of this indexer since it was started.
        kept_tokens: Stored tokens of this indexer; null if it stores none.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.GALLERY_STATUS))

    count: int
    store: str
    bundle: str | None
    fingerprint: Sha256 | None
    space: EmbeddingSpace
    collections: list[CollectionStatus]
    activity: IndexActivity
    kept_tokens: KeptTokensStatus | None


class BuildRequest(BaseModel):
    """Body of `POST /gallery/collections`.

    Attributes:
        bundle: Name of a directory next to the bundle of the service.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.BUILD_REQUEST))

    bundle: str = Field(min_length=1, max_length=255)


class SwitchRequest(BaseModel):
    """Body of `POST /gallery/live`.

    Attributes:
        space: Id of the collection's embedding space, or a prefix of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.SWITCH_REQUEST))

    space: str = Field(min_length=1, max_length=64)


class VerifyRequest(SwitchRequest):
    """Body of `POST /gallery/verify`.

    Attributes:
        samples: Number of images of the live collection that are used as queries.
        neighbours: Number of compared hits of each search.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.VERIFY_REQUEST))

    samples: int = Field(default=100, ge=1, le=10_000)
    neighbours: int = Field(default=10, ge=1, le=100)


class BackupRequest(BaseModel):
    """Body of `POST /gallery/backups`.

    Attributes:
        name: Name of the new backup: letters, digits, dots, dashes and underscores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.BACKUP_REQUEST))

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


class RestoreRequest(BackupRequest):
    """Body of `POST /gallery/restore`.

    Attributes:
        force: Whether a gallery that has images is replaced.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.RESTORE_REQUEST))

    force: bool = False


class Backup(BaseModel):
    """Description of a backup.

    Attributes:
        store: Adapter that it was read from; it can be restored to every adapter.
        created_at: Start of the backup; UTC.
        spaces: Embedding spaces of its collections; the live one first.
        count: Number of images in the live one.
        size_bytes: Size of its files.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.BACKUP))

    name: str
    store: str
    created_at: datetime
    spaces: list[EmbeddingSpace]
    count: int
    size_bytes: int = 0


class CollectionComparison(BaseModel):
    """Result of `POST /gallery/verify`.

    Attributes:
        live_count: Images in the live collection.
        count: Images in the other one.
        missing: Number of images that only the live collection has; `missing_ids` lists the first of them.
        surplus: Number of images that only the other collection has; `surplus_ids` lists the first of them.
        samples: Number of query images, which are in both collections; each is searched with its own embedding.
        live_self_recall: Share of samples that are their own first hit in the live collection; null without samples.
        self_recall: Share of samples that are their own first hit in the other one.
        shared_neighbours: Mean share of the live collection's neighbours that the other one also returns. Different
            models rank differently, so this need not be 1.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.COLLECTION_COMPARISON))

    live_count: int
    count: int
    missing: int
    missing_ids: list[str]
    surplus: int
    surplus_ids: list[str]
    samples: int
    live_self_recall: float | None
    self_recall: float | None
    shared_neighbours: float | None


JobKind = Literal["backup", "restore", "verify", "remix"]


class FusedCollection(BaseModel):
    """Result of `POST /gallery/remix`.

    Attributes:
        space: Embedding space of the collection that is filled.
        missing: Number of images without stored tokens; `missing_ids` lists the first 1,000. Index their sources again.
    """

    model_config = ConfigDict(frozen=True)

    space: EmbeddingSpace
    missing: int = 0
    missing_ids: list[str] = []


JobResult = FusedCollection | CollectionComparison | Backup


class GalleryJob(BaseModel):
    """A job: answer of `GET /gallery/jobs/{id}`, and of the requests that start one.

    Attributes:
        kind: Kind of the job.
        item: Object of the job: the name of a backup or a bundle, or the id of a space as it was sent.
        state: `running`, and then `finished` or `failed`.
        ended_at: End of the job; null while it runs.
        done: Number of processed images.
        total: Number of images at the start; null if unknown.
        result: Result of `verify`, `backup` and `remix` (of `remix` also while it runs); null for `restore`.
        problem: Cause of a failure.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.GALLERY_JOB))

    id: str
    kind: JobKind
    item: str
    state: Literal["running", "finished", "failed"] = "running"
    started_at: datetime
    ended_at: datetime | None = None
    done: int = 0
    total: int | None = None
    result: JobResult | None = None
    problem: Problem | None = None
