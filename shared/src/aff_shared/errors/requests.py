"""The root of the error tree, and errors of what a caller sent: requests and images."""

from __future__ import annotations

from typing import ClassVar


class AffError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable identifier that programs may match on.
        status: HTTP status of a service's response.
        title: Short summary, the same for every occurrence.
        detail: Cause of this occurrence, for the person who can fix it.
        item: Name of the cause: a file name, an item id, a parameter.
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
    """The request is malformed."""

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
    """The list of items does not match the images of the request."""

    code = "items_invalid"
    title = "Invalid items"


class InvalidCropError(InvalidParameterError):
    """A crop is malformed, empty, or not inside the photograph."""

    code = "crop_invalid"
    title = "Invalid crop"


class InvalidEmbeddingError(InvalidParameterError):
    """An embedding has another dimension than the gallery, or is not a unit vector."""

    code = "embedding_invalid"
    title = "Invalid embedding"


class EmbeddingsCancelError(InvalidParameterError):
    """The mean of several photographs' embeddings is zero, and cannot be searched with."""

    code = "embeddings_cancel"
    title = "Photographs have nothing in common"


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
    """A request contains one id twice, with different content."""

    code = "id_repeated"
    status = 409
    title = "Repeated id"


class HeadTimeoutError(RequestError):
    """The head of a request did not arrive in time."""

    code = "head_timeout"
    status = 408
    title = "Request head timed out"


class HeadTooLargeError(RequestError):
    """The head or the trailer of a request exceeds the limit."""

    code = "head_too_large"
    status = 431
    title = "Request head too large"


class BodyTimeoutError(RequestError):
    """The body of a request did not arrive in time."""

    code = "body_timeout"
    status = 408
    title = "Request body timed out"


class ContentEncodingError(RequestError):
    """The body of a request has a content encoding, such as compression."""

    code = "content_encoding_unsupported"
    status = 415
    title = "Content encoding not supported"
    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": "identity"}


class ImageSourceRefusedError(RequestError):
    """The operator does not allow images from this source."""

    code = "image_source_refused"
    status = 403
    title = "Image source rejected"


class ImageUnreachableError(RequestError):
    """The image cannot be found at its source, or was not received in time."""

    code = "image_unreachable"
    status = 422
    title = "Image unreachable"


class ImageError(AffError):
    """The image file cannot be used."""

    code = "image_invalid"
    status = 422
    title = "Unusable image"


class EmptyImageError(ImageError):
    """The image file is empty."""

    code = "image_empty"
    title = "Empty image"


class UnsupportedImageError(ImageError):
    """The bytes are not an image of a supported format."""

    code = "image_unsupported"
    status = 415
    title = "Not a supported image"


class TruncatedImageError(ImageError):
    """The image file is cut off or damaged."""

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
    title = "Image has too many pixels"


class ImageTooManyBytesError(ImageError):
    """The encoded image is larger than the limit."""

    code = "image_too_many_bytes"
    status = 413
    title = "Image file too large"


class DecoderFailedError(ImageError):
    """The image crashes the decoder process, or takes it too long."""

    code = "decoder_failed"
    title = "Image cannot be decoded"
