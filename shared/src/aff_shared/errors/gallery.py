"""Errors of the gallery: its store, collections, backups and jobs."""

from __future__ import annotations

from aff_shared.errors.requests import AffError, InvalidParameterError, RequestError


class StoreRefusalError(InvalidParameterError):
    """The store rejected a request: a limit of its strict mode, a wrong dimension, an unknown field."""

    code = "store_refusal"
    title = "Rejected by the gallery store"


class StoreRequestTooLargeError(StoreRefusalError):
    """An operation has more points, or bytes, than the store accepts at once."""

    code = "store_request_too_large"
    status = 413
    title = "Request too large for the gallery store"


class ImageNotFoundError(RequestError):
    """The gallery has no image with this id."""

    code = "image_not_found"
    status = 404
    title = "Image not found"


class CollectionNotFoundError(RequestError):
    """The gallery has no such collection."""

    code = "collection_not_found"
    status = 404
    title = "Collection not found"


class CollectionLiveError(RequestError):
    """The collection is live: searches use it."""

    code = "collection_live"
    status = 409
    title = "Collection is live"


class RemixError(RequestError):
    """The gallery cannot be remixed from stored tokens."""

    code = "remix_impossible"
    status = 409
    title = "Remixing impossible"


class BackupError(RequestError):
    """A backup cannot be made or restored as requested."""

    code = "backup_impossible"
    status = 409
    title = "Backup impossible"


class BackupNotFoundError(BackupError):
    """No backup has this name."""

    code = "backup_not_found"
    status = 404
    title = "Backup not found"


class BackupDamagedError(BackupError):
    """Files of a backup are missing or altered; the item is the backup or the file."""

    code = "backup_damaged"
    title = "Damaged backup"


class JobRunningError(RequestError):
    """Another job is running on the gallery; the item is its id."""

    code = "job_running"
    status = 409
    title = "Another job is running"


class JobNotFoundError(RequestError):
    """No job has this id."""

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
    """The store's rate limit is exhausted.

    Attributes:
        retry_after_s: Seconds after which the store accepts the operation again.
        headers: Headers of the response: `Retry-After`.
    """

    code = "store_throttled"
    title = "Gallery store limits the rate"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.headers = {"Retry-After": str(retry_after_s)}


class StoreLockedError(StoreError):
    """Another process has the embedded store open."""

    code = "store_locked"
    title = "Gallery store locked by another process"


class StoreDamagedError(StoreError):
    """Files of the embedded store are damaged; the detail names them and the remedy."""

    code = "store_damaged"
    status = 500
    title = "Gallery store damaged"


class StoreRejectedError(StoreError):
    """The store rejected the operation (permissions, configuration, a bug in this project)."""

    code = "store_rejected"
    status = 500
    title = "Gallery store rejected the operation"


class GalleryMissingError(StoreError):
    """The store has no gallery: none was created, or it was deleted by other means."""

    code = "gallery_missing"
    title = "Gallery does not exist"


class EmbeddingSpaceMismatchError(StoreError):
    """The gallery has another embedding space than the model bundle."""

    code = "embedding_space_mismatch"
    title = "Embedding spaces differ"


class JobStoppedError(AffError):
    """The service was stopped while the job was running."""

    code = "job_stopped"
    status = 503
    title = "Job stopped"
