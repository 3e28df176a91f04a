"""Errors of the gallery: its store, collections, backups and jobs."""

from __future__ import annotations

from aff_shared.errors.base import AffError
from aff_shared.errors.requests import InvalidParameterError, RequestError


class StoreRefusalError(InvalidParameterError):
    """The store refused a request for what it asks: a limit of its strict mode, a wrong width, an unknown field."""

    code = "store_refusal"
    title = "Refused by the gallery store"


class StoreRequestTooLargeError(StoreRefusalError):
    """An operation has more points, or bytes, than the store takes at once."""

    code = "store_request_too_large"
    status = 413
    title = "Request too large for the gallery store"


class ImageNotFoundError(RequestError):
    """The gallery holds no image of that id."""

    code = "image_not_found"
    status = 404
    title = "Image not found"


class CollectionNotFoundError(RequestError):
    """The gallery has no such collection."""

    code = "collection_not_found"
    status = 404
    title = "Collection not found"


class CollectionLiveError(RequestError):
    """Searches go to the collection."""

    code = "collection_live"
    status = 409
    title = "Collection is live"


class RemixError(RequestError):
    """The gallery cannot be fused again from kept tokens."""

    code = "remix_impossible"
    status = 409
    title = "Cannot be fused again"


class BackupError(RequestError):
    """A backup cannot be made or restored as it was asked for."""

    code = "backup_impossible"
    status = 409
    title = "Backup impossible"


class BackupNotFoundError(BackupError):
    """There is no backup of that name."""

    code = "backup_not_found"
    status = 404
    title = "Backup not found"


class BackupDamagedError(BackupError):
    """Files of a backup are missing, or not what was written; named by the backup or the file."""

    code = "backup_damaged"
    title = "Damaged backup"


class JobRunningError(RequestError):
    """A job on the gallery runs already; named by its id."""

    code = "job_running"
    status = 409
    title = "Another job is running"


class JobNotFoundError(RequestError):
    """There is no job of that id."""

    code = "job_not_found"
    status = 404
    title = "Job not found"


class StoreError(AffError):
    """The gallery store failed."""

    code = "store_failed"
    status = 503
    title = "Gallery store failed"


class StoreUnavailableError(StoreError):
    """The store cannot be reached, or did not answer in time."""

    code = "store_unavailable"
    title = "Gallery store unavailable"


class StoreThrottledError(StoreUnavailableError):
    """The store's rate limit is used up.

    Attributes:
        retry_after_s: Seconds after which the store takes the operation again.
        headers: Of the answer: `Retry-After`.
    """

    code = "store_throttled"
    title = "Gallery store limits the rate"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.headers = {"Retry-After": str(retry_after_s)}


class StoreLockedError(StoreError):
    """Another process holds the embedded store."""

    code = "store_locked"
    title = "Gallery store locked by another process"


class StoreDamagedError(StoreError):
    """Files of the embedded store are not what was written; the detail tells which, and what mends them."""

    code = "store_damaged"
    status = 500
    title = "Gallery store damaged"


class StoreRejectedError(StoreError):
    """The store understood the operation and refused it (permissions, configuration, a bug of ours)."""

    code = "store_rejected"
    status = 500
    title = "Gallery store refused the operation"


class GalleryMissingError(StoreError):
    """The store holds no gallery: none has been created, or something else deleted it."""

    code = "gallery_missing"
    title = "Gallery does not exist"


class EmbeddingSpaceMismatchError(StoreError):
    """The gallery was embedded in another space than the model bundle's."""

    code = "embedding_space_mismatch"
    title = "Embedding spaces differ"


class JobStoppedError(AffError):
    """The service was stopped while the job was running."""

    code = "job_stopped"
    status = 503
    title = "Job stopped"
