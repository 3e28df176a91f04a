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
    """An embedding was made by another encoder than the one that the gallery is searched with."""

    code = "encoder_mismatch"
    status = 409
    title = "Encoder mismatch"


class BundleUnknownError(RequestError):
    """The service has no bundle of the name that was asked for."""

    code = "bundle_unknown"
    status = 404
    title = "Unknown model bundle"


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


class EncoderError(AffError):
    """The encoder failed on an image that decoded well."""

    code = "encoder_failed"
    title = "Encoder failed"


class WorkerError(EncoderError):
    """A process that works for a service cannot be started, died, or gave no answer that can be used."""

    code = "worker_failed"
    title = "Worker process failed"
