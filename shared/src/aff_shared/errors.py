"""The error tree of the project: one root, and for every error a code, an HTTP status and a title.

```
AffError                                  500  internal_error
├── RequestError                          400  request_malformed
│   ├── InvalidParameterError             422  parameter_invalid
│   │   ├── InvalidFilterError            422  filter_invalid
│   │   ├── InvalidItemsError             422  items_invalid
│   │   ├── InvalidCropError              422  crop_invalid
│   │   ├── InvalidEmbeddingError         422  embedding_invalid
│   │   ├── EmbeddingsCancelError         422  embeddings_cancel
│   │   └── StoreRefusalError             422  store_refusal
│   │       └── StoreRequestTooLargeError     413  store_request_too_large
│   ├── BodyTooLargeError                 413  body_too_large
│   ├── TooManyImagesError                413  too_many_images
│   ├── RepeatedIdError                   409  id_repeated
│   ├── ImageNotFoundError                404  image_not_found
│   ├── EncoderFileNotFoundError          404  encoder_file_not_found
│   ├── EncoderMismatchError              409  encoder_mismatch
│   ├── HeadTimeoutError                  408  head_timeout
│   ├── HeadTooLargeError                 431  head_too_large
│   ├── BodyTimeoutError                  408  body_timeout
│   ├── ContentEncodingError              415  content_encoding_unsupported
│   ├── CollectionNotFoundError           404  collection_not_found
│   ├── CollectionLiveError               409  collection_live
│   ├── BundleUnknownError                404  bundle_unknown
│   ├── RemixError                     409  remix_impossible
│   ├── BackupError                       409  backup_impossible
│   │   ├── BackupNotFoundError           404  backup_not_found
│   │   └── BackupDamagedError            409  backup_damaged
│   ├── JobRunningError                   409  job_running
│   ├── JobNotFoundError                  404  job_not_found
│   ├── ImageSourceRefusedError           403  image_source_refused
│   ├── ImageUnreachableError             422  image_unreachable
│   ├── KeyMissingError                   401  key_missing
│   ├── KeyInvalidError                   401  key_invalid
│   ├── ScopeMissingError                 403  scope_missing
│   ├── OriginRefusedError                403  origin_refused
│   ├── HostRefusedError                  421  host_refused
│   └── RateLimitedError                  429  rate_limited
├── ImageError                            422  image_invalid
│   ├── EmptyImageError                   422  image_empty
│   ├── UnsupportedImageError             415  image_unsupported
│   ├── TruncatedImageError               422  image_truncated
│   ├── ImageTooSmallError                422  image_too_small
│   ├── ImageTooManyPixelsError           413  image_too_many_pixels
│   ├── ImageTooManyBytesError            413  image_too_many_bytes
│   └── DecoderFailedError                422  decoder_failed
├── BundleError                           500  bundle_invalid
│   ├── BundleNotFoundError               500  bundle_not_found
│   ├── BundleFormatError                 500  bundle_format
│   ├── BundleIntegrityError              500  bundle_integrity
│   ├── BundlePrecisionError              500  bundle_precision
│   └── BundleSignatureError              500  bundle_signature
├── StoreError                            503  store_failed
│   ├── StoreUnavailableError             503  store_unavailable
│   │   └── StoreThrottledError           503  store_throttled
│   ├── StoreLockedError                  503  store_locked
│   ├── StoreDamagedError                 500  store_damaged
│   ├── StoreRejectedError                500  store_rejected
│   ├── GalleryMissingError               503  gallery_missing
│   └── EmbeddingSpaceMismatchError       503  embedding_space_mismatch
├── EncoderError                          500  encoder_failed
│   └── WorkerError                       500  worker_failed
├── MissingExtraError                     500  extra_missing
├── AccessSettingsError               500  access_open
├── ListenError                       500  listen_failed
├── ServiceNotReadyError                  503  service_not_ready
├── JobStoppedError                       503  job_stopped
└── ServiceOverloadedError                429  service_overloaded
    └── ConnectionLimitError              503  connection_limit
```

Errors of other libraries are translated into this tree where they enter the project (image decoding,
each store adapter, the ONNX session), so nothing above those places handles a foreign exception.
"""

from __future__ import annotations

from typing import ClassVar


class AffError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable identifier that programs may match on.
        status: HTTP status that a service answers with.
        title: Short summary that is the same for every occurrence.
        detail: What happened this time, in words for the person who can mend it.
        item: Name of what is at fault: a file name, an item id, a parameter.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, item: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.item = item

    def __str__(self) -> str:
        return f"{self.item}: {self.detail}" if self.item else self.detail


class RequestError(AffError):
    """The request cannot be understood as it was sent."""

    code = "request_malformed"
    status = 400
    title = "Malformed request"


class InvalidParameterError(RequestError):
    """A parameter has a value outside its documented range."""

    code = "parameter_invalid"
    status = 422
    title = "Invalid parameter"


class InvalidFilterError(InvalidParameterError):
    """A payload filter does not have the documented form."""

    code = "filter_invalid"
    title = "Invalid filter"


class InvalidItemsError(InvalidParameterError):
    """The list of items does not fit the images that came with it."""

    code = "items_invalid"
    title = "Invalid items"


class InvalidCropError(InvalidParameterError):
    """A crop is malformed, empty, or not inside the photograph."""

    code = "crop_invalid"
    title = "Invalid crop"


class InvalidEmbeddingError(InvalidParameterError):
    """An embedding has another width than the gallery's, or is no unit vector."""

    code = "embedding_invalid"
    title = "Invalid embedding"


class EmbeddingsCancelError(InvalidParameterError):
    """The mean of several photographs' embeddings is no direction to search in."""

    code = "embeddings_cancel"
    title = "Photographs with nothing in common"


class StoreRefusalError(InvalidParameterError):
    """The store refused a request for what it asks: a limit of its strict mode, a wrong width, an unknown field."""

    code = "store_refusal"
    title = "Refused by the gallery store"


class StoreRequestTooLargeError(StoreRefusalError):
    """An operation has more points, or bytes, than the store takes at once."""

    code = "store_request_too_large"
    status = 413
    title = "Request too large for the gallery store"


class BodyTooLargeError(RequestError):
    """The body of the request exceeds the limit."""

    code = "body_too_large"
    status = 413
    title = "Request body too large"


class TooManyImagesError(RequestError):
    """More images in one request than the limit allows."""

    code = "too_many_images"
    status = 413
    title = "Too many images"


class RepeatedIdError(RequestError):
    """One id stands twice in a request, with different content."""

    code = "id_repeated"
    status = 409
    title = "Repeated id"


class ImageNotFoundError(RequestError):
    """The gallery holds no image of that id."""

    code = "image_not_found"
    status = 404
    title = "Image not found"


class EncoderFileNotFoundError(RequestError):
    """The query encoder has no such file."""

    code = "encoder_file_not_found"
    status = 404
    title = "Encoder file not found"


class EncoderMismatchError(RequestError):
    """An embedding was made by another encoder than the one that the gallery is searched with."""

    code = "encoder_mismatch"
    status = 409
    title = "Encoder mismatch"


class HeadTimeoutError(RequestError):
    """The head of a request did not arrive in time."""

    code = "head_timeout"
    status = 408
    title = "Head did not arrive in time"


class HeadTooLargeError(RequestError):
    """The head of a request, or what follows its body, exceeds the limit."""

    code = "head_too_large"
    status = 431
    title = "Request head too large"


class BodyTimeoutError(RequestError):
    """The body of a request did not arrive in time."""

    code = "body_timeout"
    status = 408
    title = "Body did not arrive in time"


class ContentEncodingError(RequestError):
    """The body of a request is compressed, or encoded in another way."""

    code = "content_encoding_unsupported"
    status = 415
    title = "Content encoding not supported"
    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": "identity"}


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


class BundleUnknownError(RequestError):
    """The service has no bundle of the name that was asked for."""

    code = "bundle_unknown"
    status = 404
    title = "Unknown model bundle"


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


class ImageSourceRefusedError(RequestError):
    """The operator does not allow images to be taken from there."""

    code = "image_source_refused"
    status = 403
    title = "Image source refused"


class ImageUnreachableError(RequestError):
    """The image is not where it was said to be, or could not be had in time."""

    code = "image_unreachable"
    status = 422
    title = "Image unreachable"


class KeyMissingError(RequestError):
    """The service has keys, and the request brings none."""

    code = "key_missing"
    status = 401
    title = "Key missing"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class KeyInvalidError(RequestError):
    """The request's key is none of the service's."""

    code = "key_invalid"
    status = 401
    title = "Invalid key"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class ScopeMissingError(RequestError):
    """The request's key is good, and not for this."""

    code = "scope_missing"
    status = 403
    title = "Scope missing"


class OriginRefusedError(RequestError):
    """A browser asks for a page of another site, which the settings do not allow."""

    code = "origin_refused"
    status = 403
    title = "Origin refused"


class HostRefusedError(RequestError):
    """The request names a host that a service without keys does not answer for."""

    code = "host_refused"
    status = 421
    title = "Host refused"


class RateLimitedError(RequestError):
    """The key has made more requests than its limit allows.

    Attributes:
        headers: Of the answer: `Retry-After`, the seconds after which there is room for one request.
    """

    code = "rate_limited"
    status = 429
    title = "Rate limited"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class ImageError(AffError):
    """The bytes of an image cannot be used."""

    code = "image_invalid"
    status = 422
    title = "Unusable image"


class EmptyImageError(ImageError):
    """No bytes at all."""

    code = "image_empty"
    title = "Empty image"


class UnsupportedImageError(ImageError):
    """The bytes are not an image of a supported format."""

    code = "image_unsupported"
    status = 415
    title = "Not a supported image"


class TruncatedImageError(ImageError):
    """The image ends before its data does, or its data is damaged."""

    code = "image_truncated"
    title = "Truncated or damaged image"


class ImageTooSmallError(ImageError):
    """A side of the image is shorter than the limit."""

    code = "image_too_small"
    title = "Image too small"


class ImageTooManyPixelsError(ImageError):
    """The image would decode to more pixels, or a longer side, than the limit."""

    code = "image_too_many_pixels"
    status = 413
    title = "Image with too many pixels"


class ImageTooManyBytesError(ImageError):
    """The encoded image is larger than the limit."""

    code = "image_too_many_bytes"
    status = 413
    title = "Image file too large"


class DecoderFailedError(ImageError):
    """The process that decodes the image dies of it, or does not end with it in time."""

    code = "decoder_failed"
    title = "Image stops its decoder"


class BundleError(AffError):
    """The model bundle cannot be used."""

    code = "bundle_invalid"
    title = "Unusable model bundle"


class BundleNotFoundError(BundleError):
    """There is no bundle at that place."""

    code = "bundle_not_found"
    title = "Model bundle not found"


class BundleFormatError(BundleError):
    """The manifest does not have the documented form, or a format version unknown to this release."""

    code = "bundle_format"
    title = "Malformed model bundle"


class BundleIntegrityError(BundleError):
    """A file, the space id or the fingerprint is not what the manifest says."""

    code = "bundle_integrity"
    title = "Altered model bundle"


class BundlePrecisionError(BundleError):
    """The bundle has no query encoder of the precision that was asked for."""

    code = "bundle_precision"
    title = "No query encoder of that precision"


class BundleSignatureError(BundleError):
    """A bundle is not signed by the holder of the settings' key."""

    code = "bundle_signature"
    title = "Bundle not signed as it should be"


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


class EncoderError(AffError):
    """The encoder failed on an image that decoded well."""

    code = "encoder_failed"
    title = "Encoder failed"


class WorkerError(EncoderError):
    """A process that works for a service cannot be started, died, or gave no answer that can be used."""

    code = "worker_failed"
    title = "Worker process failed"


class MissingExtraError(AffError):
    """A network needs a package that is installed only on demand."""

    code = "extra_missing"
    title = "Optional package missing"


class AccessSettingsError(AffError):
    """A service would be open to others than this machine, and nobody said that it should; or its keys are unusable."""

    code = "access_open"
    title = "Unusable access settings"


class ListenError(AffError):
    """A service cannot listen on its address."""

    code = "listen_failed"
    title = "Cannot listen"


class ServiceNotReadyError(AffError):
    """The service is starting, or a part that it needs is missing."""

    code = "service_not_ready"
    status = 503
    title = "Service not ready"


class JobStoppedError(AffError):
    """The service was stopped while the job was running."""

    code = "job_stopped"
    status = 503
    title = "Job stopped"


class ServiceOverloadedError(AffError):
    """The service has as much work as its limits allow.

    Attributes:
        headers: Of the answer: `Retry-After`, the seconds after which trying again is likely to succeed.
    """

    code = "service_overloaded"
    status = 429
    title = "Service overloaded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class ConnectionLimitError(ServiceOverloadedError):
    """The service has as many open connections as its limit allows."""

    code = "connection_limit"
    status = 503
    title = "Too many connections"
