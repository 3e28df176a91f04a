"""Errors of requests: what the caller sent cannot be used."""

from __future__ import annotations

from typing import ClassVar

from aff_shared.errors.base import AffError


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
