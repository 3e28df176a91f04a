"""Errors of a service: access, limits, its start, model bundles, encoders and worker processes."""

from __future__ import annotations

from typing import ClassVar

from aff_shared.errors.requests import AffError, RequestError


class EncoderFileNotFoundError(RequestError):
    """The query encoder has no such file."""

    code = "encoder_file_not_found"
    status = 404
    title = "Encoder file not found"


class EncoderMismatchError(RequestError):
    """An embedding was made by another encoder than the one that searches use."""

    code = "encoder_mismatch"
    status = 409
    title = "Encoder mismatch"


class EncoderMissingError(RequestError):
    """The gallery was imported, and no model embeds photographs for its embedding space."""

    code = "encoder_missing"
    status = 409
    title = "No encoder for this gallery"


class BundleUnknownError(RequestError):
    """The service has no bundle of this name."""

    code = "bundle_unknown"
    status = 404
    title = "Unknown model bundle"


class BundleError(AffError):
    """The model bundle cannot be used."""

    code = "bundle_invalid"
    title = "Unusable model bundle"


class BundleNotFoundError(BundleError):
    """The directory has no bundle."""

    code = "bundle_not_found"
    title = "Model bundle not found"


class BundleFormatError(BundleError):
    """The manifest is malformed, or has a format version that this release does not support."""

    code = "bundle_format"
    title = "Malformed model bundle"


class BundleIntegrityError(BundleError):
    """A file, the space id or the fingerprint differs from the manifest."""

    code = "bundle_integrity"
    title = "Altered model bundle"


class BundlePrecisionError(BundleError):
    """The bundle has no query encoder of the requested precision."""

    code = "bundle_precision"
    title = "No query encoder of that precision"


class BundleSignatureError(BundleError):
    """The bundle is not signed with the configured key."""

    code = "bundle_signature"
    title = "Bundle signature invalid"


class EncoderError(AffError):
    """The encoder failed on an image that decoded well."""

    code = "encoder_failed"
    title = "Encoder failed"


class WorkerError(EncoderError):
    """A worker process cannot be started, died, or did not return a valid answer."""

    code = "worker_failed"
    title = "Worker process failed"


class KeyMissingError(RequestError):
    """The service requires a key, and the request has none."""

    code = "key_missing"
    status = 401
    title = "Key missing"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class KeyInvalidError(RequestError):
    """The key of the request is unknown."""

    code = "key_invalid"
    status = 401
    title = "Invalid key"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class ScopeMissingError(RequestError):
    """The key of the request lacks the required scope."""

    code = "scope_missing"
    status = 403
    title = "Scope missing"


class OriginRefusedError(RequestError):
    """A cross-origin request that the settings do not allow."""

    code = "origin_refused"
    status = 403
    title = "Origin rejected"


class HostRefusedError(RequestError):
    """The request names a host that a service without keys does not accept."""

    code = "host_refused"
    status = 421
    title = "Host rejected"


class RateLimitedError(RequestError):
    """The key has made more requests than its limit allows.

    Attributes:
        headers: Headers of the response: `Retry-After`, the seconds until one more request is allowed.
    """

    code = "rate_limited"
    status = 429
    title = "Rate limited"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class MissingExtraError(AffError):
    """A network needs a package that is installed only on demand."""

    code = "extra_missing"
    title = "Optional package missing"


class AccessSettingsError(AffError):
    """A service would be reachable from other machines without keys, or its keys are unusable."""

    code = "access_open"
    title = "Unusable access settings"


class ListenError(AffError):
    """A service cannot listen on its address."""

    code = "listen_failed"
    title = "Cannot listen"


class ServiceNotReadyError(AffError):
    """The service is starting, or a required component is missing."""

    code = "service_not_ready"
    status = 503
    title = "Service not ready"


class ServiceOverloadedError(AffError):
    """The service is at its limits.

    Attributes:
        headers: Headers of the response: `Retry-After`, the seconds after which a retry is likely to succeed.
    """

    code = "service_overloaded"
    status = 429
    title = "Service overloaded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class ConnectionLimitError(ServiceOverloadedError):
    """The service has reached its limit of open connections."""

    code = "connection_limit"
    status = 503
    title = "Too many connections"
