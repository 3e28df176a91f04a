"""Errors of images."""

from __future__ import annotations

from aff_shared.errors.base import AffError


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
