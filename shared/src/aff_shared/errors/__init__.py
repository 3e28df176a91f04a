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
│   │       └── StoreRequestTooLargeError 413  store_request_too_large
│   ├── BodyTooLargeError                 413  body_too_large
│   ├── TooManyImagesError                413  too_many_images
│   ├── RepeatedIdError                   409  id_repeated
│   ├── HeadTimeoutError                  408  head_timeout
│   ├── HeadTooLargeError                 431  head_too_large
│   ├── BodyTimeoutError                  408  body_timeout
│   ├── ContentEncodingError              415  content_encoding_unsupported
│   ├── ImageSourceRefusedError           403  image_source_refused
│   ├── ImageUnreachableError             422  image_unreachable
│   ├── ImageNotFoundError                404  image_not_found
│   ├── CollectionNotFoundError           404  collection_not_found
│   ├── CollectionLiveError               409  collection_live
│   ├── RemixError                        409  remix_impossible
│   ├── BackupError                       409  backup_impossible
│   │   ├── BackupNotFoundError           404  backup_not_found
│   │   └── BackupDamagedError            409  backup_damaged
│   ├── JobRunningError                   409  job_running
│   ├── JobNotFoundError                  404  job_not_found
│   ├── EncoderFileNotFoundError          404  encoder_file_not_found
│   ├── EncoderMismatchError              409  encoder_mismatch
│   ├── EncoderMissingError               409  encoder_missing
│   ├── BundleUnknownError                404  bundle_unknown
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
├── StoreError                            503  store_failed
│   ├── StoreUnavailableError             503  store_unavailable
│   │   └── StoreThrottledError           503  store_throttled
│   ├── StoreLockedError                  503  store_locked
│   ├── StoreDamagedError                 500  store_damaged
│   ├── StoreRejectedError                500  store_rejected
│   ├── GalleryMissingError               503  gallery_missing
│   └── EmbeddingSpaceMismatchError       503  embedding_space_mismatch
├── JobStoppedError                       503  job_stopped
├── BundleError                           500  bundle_invalid
│   ├── BundleNotFoundError               500  bundle_not_found
│   ├── BundleFormatError                 500  bundle_format
│   ├── BundleIntegrityError              500  bundle_integrity
│   ├── BundlePrecisionError              500  bundle_precision
│   └── BundleSignatureError              500  bundle_signature
├── EncoderError                          500  encoder_failed
│   └── WorkerError                       500  worker_failed
├── MissingExtraError                     500  extra_missing
├── AccessSettingsError                   500  access_open
├── ListenError                           500  listen_failed
├── ServiceNotReadyError                  503  service_not_ready
└── ServiceOverloadedError                429  service_overloaded
    └── ConnectionLimitError              503  connection_limit
```

Each module holds the errors of one area. Exceptions of other libraries are translated into this tree where they enter
the project (image decoding, the store adapters, the ONNX session), so no other code handles foreign exceptions.
"""

from aff_shared.errors.gallery import *  # noqa: F403
from aff_shared.errors.requests import *  # noqa: F403
from aff_shared.errors.services import *  # noqa: F403
