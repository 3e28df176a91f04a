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
        live: Whether searches go there.
        live_since: When it became live last; null where it never was, or that is not known.
        count: Images in it.
        bundle: Name of the bundle that embeds for it; null where the indexer does not have it, so that the collection
            gets no new images.
        fingerprint: Of that bundle.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.COLLECTION_STATUS))

    space: EmbeddingSpace
    live: bool
    live_since: datetime | None
    count: int
    bundle: str | None
    fingerprint: Sha256 | None


class IndexActivity(IndexSummary):
    """What this indexer did since it was started: receipts by status.

    Attributes:
        images_per_s: Receipts a second during the last minute.
        in_flight: Images that are waited for or worked on now.
    """

    images_per_s: float
    in_flight: int


class KeptTokensStatus(BaseModel):
    """The features that are kept of indexed images."""

    model_config = ConfigDict(frozen=True)

    images: int
    size_bytes: int


class GalleryStatus(BaseModel):
    """Answer of `GET /gallery`: the live collection, and all of them.

    Attributes:
        count: Images in the live collection.
        store: Adapter: `qdrant_edge` or `qdrant_server`.
        bundle: Name of the bundle that embeds for the live collection; null where the indexer does not have it.
        fingerprint: Of that bundle.
        space: Of the live collection.
        collections: The live one first, then those that were live last.
        activity: Of this indexer.
        kept_tokens: Of this indexer; null where it keeps none.
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
        bundle: Name of a directory beside the bundle of the service.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.BUILD_REQUEST))

    bundle: str = Field(min_length=1, max_length=255)


class SwitchRequest(BaseModel):
    """Body of `POST /gallery/live`.

    Attributes:
        space: Id of the collection's embedding space, or the beginning of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.SWITCH_REQUEST))

    space: str = Field(min_length=1, max_length=64)


class VerifyRequest(SwitchRequest):
    """Body of `POST /gallery/verify`.

    Attributes:
        samples: Images of the live collection that are searched with.
        neighbours: Hits of each search that are compared.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.VERIFY_REQUEST))

    samples: int = Field(default=100, ge=1, le=10_000)
    neighbours: int = Field(default=10, ge=1, le=100)


class BackupRequest(BaseModel):
    """Body of `POST /gallery/backups`.

    Attributes:
        name: Of the new backup: letters, digits, dots, dashes and underscores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.BACKUP_REQUEST))

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


class RestoreRequest(BackupRequest):
    """Body of `POST /gallery/restore`.

    Attributes:
        force: Replace a gallery that has images.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.RESTORE_REQUEST))

    force: bool = False


class Backup(BaseModel):
    """What a backup holds.

    Attributes:
        store: Adapter that it was read from; it can be restored to any.
        created_at: When it was begun; UTC.
        spaces: Embedding spaces of its collections, the live one first.
        count: Images in the live one.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.BACKUP))

    name: str
    store: str
    created_at: datetime
    spaces: list[EmbeddingSpace]
    count: int


class CollectionComparison(BaseModel):
    """What came of `POST /gallery/verify`.

    Attributes:
        live_count: Images in the live collection.
        count: Images in the other one.
        missing: Images of the live collection that the other one lacks; `missing_ids` names the first of them.
        surplus: Images of the other one that the live one lacks; `surplus_ids` names the first of them.
        samples: Images that were searched with, each with its own embedding; the live ones that are in both.
        live_self_recall: Share of them that come first in the live collection; null without samples.
        self_recall: Share that come first in the other one.
        shared_neighbours: Mean share of the live collection's nearest neighbours that the other one has, too. Another
            model sees other likenesses, so this need not be 1.
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
    """What came of `POST /gallery/remix`.

    Attributes:
        space: Of the collection that is filled.
        missing: Images without kept tokens; `missing_ids` names the first 1,000. Index their sources again.
    """

    model_config = ConfigDict(frozen=True)

    space: EmbeddingSpace
    missing: int = 0
    missing_ids: list[str] = []


JobResult = FusedCollection | CollectionComparison | Backup


class GalleryJob(BaseModel):
    """A job: answer of `GET /gallery/jobs/{id}`, and of the requests that start one.

    Attributes:
        kind: What it does.
        item: What with: the name of a backup or a bundle, or the id of a space as it was given.
        state: `running`, and then `finished` or `failed`.
        ended_at: Null while it runs.
        done: Images that are done.
        total: Images that there were at its beginning; null where that is not known.
        result: Of `verify`, `backup` and `remix`; that of `remix` while it runs, too. Null for `restore`.
        problem: Why it failed.
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
