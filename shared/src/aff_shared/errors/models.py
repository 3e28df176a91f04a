"""Errors of model bundles, encoders and worker processes."""

from __future__ import annotations

from aff_shared.errors.base import AffError
from aff_shared.errors.requests import RequestError


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
