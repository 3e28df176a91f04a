"""Errors of images."""

from __future__ import annotations

from aff_shared.errors.base import AffError


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
