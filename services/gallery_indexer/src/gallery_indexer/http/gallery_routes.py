"""HTTP routes for the gallery as a whole: its collections, backups and jobs."""

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
    EncoderMissingError,
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
        description="A value that the client chooses: a repeated request with it returns the job of the first one.",
    ),
]
JobId = Annotated[str, Path(examples=[GALLERY_JOB["id"]])]

_REMIXED = (RemixError, JobRunningError, EncoderMissingError)
_BUILT = (BundleUnknownError, CollectionNotFoundError, BundleError, MissingExtraError, StoreError)


@status_router.get("/gallery", responses=problem_responses(StoreError))
async def get_gallery(components: CurrentComponents) -> GalleryStatus:
    """Return the gallery's size, collections and embedding spaces, and this indexer's activity since its start."""
    collections = await components.catalogue.collections()
    live = live_one(collections, seen=components.collections.seen)
    described = [await _describe(components, collection) for collection in collections]
    cache = components.feature_cache
    cached = None
    if cache is not None:
        cached = KeptTokensStatus(
            images=await asyncio.to_thread(cache.count), size_bytes=await asyncio.to_thread(cache.size_bytes)
        )
    return GalleryStatus(
        count=described[0].count,
        store=components.catalogue.name,
        bundle=described[0].bundle,
        fingerprint=described[0].fingerprint,
        space=live.space,
        collections=described,
        activity=components.metrics.activity(),
        kept_tokens=cached,
    )


@router.post("/gallery", responses=problem_responses(StoreError, BundleError))
async def create_gallery(components: CurrentComponents) -> GalleryStatus:
    """Create an empty gallery if there is none; an existing one is not changed."""
    await components.collections.create()
    return await get_gallery(components)


@router.post(
    "/gallery/collections",
    responses=problem_responses(*_BUILT),
    status_code=201,
)
async def build_collection(body: BuildRequest, components: CurrentComponents) -> CollectionStatus:
    """Create the collection of another bundle in addition to the live one.

    Images that are indexed from now on are written to it, too; index the others again to fill it. Searches continue to
    use the live collection.
    """
    return await _describe(components, await components.collections.build(body.bundle))


@router.post("/gallery/refuse", status_code=202, deprecated=True, include_in_schema=False)  # its former name
@router.post("/gallery/remix", responses=problem_responses(*_REMIXED, *_BUILT), status_code=202)
async def remix_gallery(
    body: BuildRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Start a job that fills the collection of another mixer on the same extractors from the cached features.

    No image is decoded and no extractor runs. A repeated request continues with the missing images.
    """
    return await components.jobs.start(
        "remix", body.bundle, lambda: components.remix_gallery.prepare(body.bundle), key=idempotency_key
    )


@router.get("/gallery/jobs")
async def list_jobs(components: CurrentComponents) -> list[GalleryJob]:
    """List the running job and the last jobs that ended, the newest first; a restart clears the list."""
    return components.jobs.jobs()


@router.get("/gallery/jobs/{job_id}", responses=problem_responses(JobNotFoundError))
async def get_job(job_id: JobId, components: CurrentComponents) -> GalleryJob:
    """Return the progress and the result of a job."""
    return components.jobs.job(job_id)


@router.post("/gallery/live", responses=problem_responses(*_NAMED))
async def switch_collection(body: SwitchRequest, components: CurrentComponents) -> GalleryStatus:
    """Make another collection the live one, atomically for all clients; the former one remains, to switch back."""
    await components.catalogue.switch(body.space)
    await components.collections.refresh()
    return await get_gallery(components)


@router.post("/gallery/verify", responses=problem_responses(JobRunningError, *_NAMED), status_code=202)
async def verify_collection(
    body: VerifyRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Start a job that compares a collection with the live one: their images, and the hits of searches."""
    return await components.jobs.start(
        "verify", body.space, lambda: prepare_comparison(components.catalogue, body), key=idempotency_key
    )


@router.post("/gallery/backups", responses=problem_responses(BackupError, JobRunningError, StoreError), status_code=202)
async def create_backup(
    body: BackupRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Start a job that writes all collections into a new backup; searches continue."""
    return await components.jobs.start(
        "backup", body.name, lambda: components.backup_gallery.prepare_backup(body.name), key=idempotency_key
    )


@router.get("/gallery/backups", responses=problem_responses(BackupError))
async def list_backups(components: CurrentComponents) -> list[Backup]:
    """List the backups, the newest first."""
    return await components.backup_gallery.backups()


@router.post("/gallery/restore", responses=problem_responses(BackupError, JobRunningError, StoreError), status_code=202)
async def restore_backup(
    body: RestoreRequest, components: CurrentComponents, idempotency_key: IdempotencyKey = None
) -> GalleryJob:
    """Start a job that replaces the gallery with a backup."""

    async def prepare() -> Work:
        return await components.backup_gallery.prepare_restoration(body.name, force=body.force)

    return await components.jobs.start("restore", body.name, prepare, key=idempotency_key)


@router.delete(
    "/gallery/collections/{space}", responses=problem_responses(*_NAMED, CollectionLiveError), status_code=204
)
async def drop_collection(space: Annotated[str, Path(examples=[SPACE_ID])], components: CurrentComponents) -> None:
    """Delete a collection that is not live, with all its embeddings."""
    await components.catalogue.drop(space)
    await components.collections.refresh()


async def _describe(components: Components, collection: Collection) -> CollectionStatus:
    manifest = components.collections.opened.manifest(collection.space.id)
    store = await components.catalogue.collection(collection.space)
    try:
        count = await store.count()
    except GalleryMissingError:  # dropped meanwhile
        count = 0
    return CollectionStatus(
        space=collection.space,
        live=collection.live,
        live_since=collection.live_since,
        count=count,
        bundle=manifest.name if manifest else None,
        fingerprint=manifest.fingerprint if manifest else None,
    )
