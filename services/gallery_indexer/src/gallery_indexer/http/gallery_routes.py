"""HTTP routes for the gallery as a whole: its collections, and which of them is live."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Header, Path

from aff_shared.errors import (
    BackupError,
    BundleError,
    BundleUnknownError,
    CollectionLiveError,
    CollectionNotFoundError,
    GalleryMissingError,
    JobNotFoundError,
    JobRunningError,
    MissingExtraError,
    RemixError,
    StoreError,
)
from aff_shared.schemas.examples import GALLERY_JOB, SPACE_ID
from aff_shared.schemas.gallery import (
    Backup,
    BackupRequest,
    BuildRequest,
    CollectionStatus,
    GalleryJob,
    GalleryStatus,
    KeptTokensStatus,
    RestoreRequest,
    SwitchRequest,
    VerifyRequest,
)
from aff_shared.store.gallery_catalogue import Collection, live_one
from aff_shared.web.problems import problem_responses
from aff_shared.web.routing import scoped_router
from aff_shared.web.settings import Scope
from gallery_indexer.collections.compare_collections import prepare_comparison
from gallery_indexer.collections.gallery_jobs import Work
from gallery_indexer.components import Components, CurrentComponents

router = scoped_router(Scope.ADMIN, tags=["gallery"])
status_router = scoped_router(Scope.INDEX, tags=["gallery"])

_NAMED = (CollectionNotFoundError, StoreError)
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=128,
        examples=["nightly-backup-2026-05-17"],
        description="Chosen by the caller: a request that is sent again with it returns the job that it has started.",
    ),
]
JobId = Annotated[str, Path(examples=[GALLERY_JOB["id"]])]

_BUILT = (BundleUnknownError, CollectionNotFoundError, BundleError, MissingExtraError, StoreError)


@status_router.get("/gallery", responses=problem_responses(StoreError))
async def get_gallery(components: CurrentComponents) -> GalleryStatus:
    """Say what the gallery holds, in which embedding spaces, and what this indexer did since its start."""
    collections = await components.catalogue.collections()
    live = live_one(collections, seen=components.collections.seen)
    described = [await _describe(components, collection) for collection in collections]
    tokens = components.feature_cache
    kept = None
    if tokens is not None:
        kept = KeptTokensStatus(
            images=await asyncio.to_thread(tokens.count), size_bytes=await asyncio.to_thread(tokens.size_bytes)
        )
    return GalleryStatus(
        count=described[0].count,
        store=components.catalogue.name,
        bundle=described[0].bundle,
        fingerprint=described[0].fingerprint,
        space=live.space,
        collections=described,
        activity=components.metrics.activity(),
        kept_tokens=kept,
    )


@router.post("/gallery", responses=problem_responses(StoreError, BundleError))
async def create_gallery(components: CurrentComponents) -> GalleryStatus:
    """Begin an empty gallery where there is none; one that is there stays as it is."""
    await components.collections.create()
    return await get_gallery(components)


@router.post(
    "/gallery/collections",
    responses=problem_responses(*_BUILT),
    status_code=201,
)
async def build_collection(asked: BuildRequest, components: CurrentComponents) -> CollectionStatus:
    """Create the collection of another bundle beside the live one.

    From now on it gets every image that is indexed; index the others again to fill it. Searches go on as before.
    """
    return await _describe(components, await components.collections.build(asked.bundle))


@router.post("/gallery/remix", responses=problem_responses(RemixError, JobRunningError, *_BUILT), status_code=202)
async def remix_gallery(
    asked: BuildRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Begin to fill the collection of another mixer on the same extractors from the kept tokens.

    No image is decoded and no extractor runs. Given again, it goes on with what is not there yet.
    """
    return await components.jobs.start(
        "remix", asked.bundle, lambda: components.remix_gallery.prepare(asked.bundle), key=idempotency_key
    )


@router.get("/gallery/jobs")
async def list_jobs(components: CurrentComponents) -> list[GalleryJob]:
    """List the job that runs and the last that ended, the newest first; a service that starts has none."""
    return components.jobs.jobs()


@router.get("/gallery/jobs/{job_id}", responses=problem_responses(JobNotFoundError))
async def get_job(job_id: JobId, components: CurrentComponents) -> GalleryJob:
    """Say how far a job is, and what came of it."""
    return components.jobs.job(job_id)


@router.post("/gallery/live", responses=problem_responses(*_NAMED))
async def switch_collection(asked: SwitchRequest, components: CurrentComponents) -> GalleryStatus:
    """Make another collection the live one, at one moment for everybody; the former one stays, for the way back."""
    await components.catalogue.switch(asked.space)
    await components.collections.refresh()
    return await get_gallery(components)


@router.post("/gallery/verify", responses=problem_responses(JobRunningError, *_NAMED), status_code=202)
async def verify_collection(
    asked: VerifyRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Begin to compare a collection with the live one: the same images, and do searches find the same?"""
    return await components.jobs.start(
        "verify", asked.space, lambda: prepare_comparison(components.catalogue, asked), key=idempotency_key
    )


@router.post("/gallery/backups", responses=problem_responses(BackupError, JobRunningError, StoreError), status_code=202)
async def create_backup(
    asked: BackupRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Begin to write all collections into a new backup; searches go on."""
    return await components.jobs.start(
        "backup", asked.name, lambda: components.backup_gallery.prepare_backup(asked.name), key=idempotency_key
    )


@router.get("/gallery/backups", responses=problem_responses(BackupError))
async def list_backups(components: CurrentComponents) -> list[Backup]:
    """List the backups, the newest first."""
    return await components.backup_gallery.backups()


@router.post("/gallery/restore", responses=problem_responses(BackupError, JobRunningError, StoreError), status_code=202)
async def restore_backup(
    asked: RestoreRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Begin to replace the gallery by a backup."""

    async def prepare() -> Work:
        return await components.backup_gallery.prepare_restoration(asked.name, force=asked.force)

    return await components.jobs.start("restore", asked.name, prepare, key=idempotency_key)


@router.delete(
    "/gallery/collections/{space}", responses=problem_responses(*_NAMED, CollectionLiveError), status_code=204
)
async def drop_collection(space: Annotated[str, Path(examples=[SPACE_ID])], components: CurrentComponents) -> None:
    """Remove a collection that is not live, with all its embeddings."""
    await components.catalogue.drop(space)
    await components.collections.refresh()


async def _describe(components: Components, collection: Collection) -> CollectionStatus:
    opened = components.collections.opened(collection.space.id)
    store = await components.catalogue.collection(collection.space)
    try:
        count = await store.count()
    except GalleryMissingError:  # dropped at this moment
        count = 0
    return CollectionStatus(
        space=collection.space,
        live=collection.live,
        live_since=collection.live_since,
        count=count,
        bundle=opened.manifest.name if opened else None,
        fingerprint=opened.manifest.fingerprint if opened else None,
    )
