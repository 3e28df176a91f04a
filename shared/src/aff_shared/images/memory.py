"""How much memory the decoder of a large image takes at once."""

from __future__ import annotations

from PIL.ImageFile import ImageFile

from aff_shared.errors import ImageTooManyPixelsError
from aff_shared.images.depth import encoded_file, is_deep_colour
from aff_shared.images.strips import is_streamed

_SCALES = (1, 2, 4, 8)
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_OTHER_PIXEL_BYTES = 4
# Measured with libavif and libheif, by the channels and, of HEIC, bits beyond eight.
_AVIF_BYTES, _HEIC_BYTES, _HEIC_DEEP_BYTES, _HEIC_ALPHA_BYTES = 14, 6, 4, 2
_DEEP_COLOUR_COPIES = 5
_WEBP_LOSSLESS, _WEBP_LOSSLESS_BYTES, _WEBP_BYTES = b"VP8L", 4, 2
_BITS = 8


def require_memory(image: ImageFile, pixels: int, limit_bytes: int) -> int:
    """Refuse an image that cannot be decoded within a limit of memory.

    Args:
        image: As it was opened.
        pixels: That are decoded; a HEIC may show a part of them.
        limit_bytes: Of the decoder and the pixels that it returns, not of the file.

    Returns:
        1, or for a JPEG the least factor by which it has to be reduced while it is decoded: 2, 4 or 8.

    Raises:
        ImageTooManyPixelsError: It has too many pixels for its kind.
    """
    scales = _SCALES if image.info.get("scalable") else _SCALES[:1]
    for scale in scales:
        needed = image.info.get("coefficient_bytes", 0) + pixels * _bytes_per_pixel(image) // scale**2
        if needed <= limit_bytes:
            return scale
    raise ImageTooManyPixelsError(
        f"{image.width} x {image.height} pixels of a {_kind(image)} ({pixels} are decoded) take about "
        f"{needed / 1e6:.0f} MB at once to decode; the limit max_decoder_bytes is {limit_bytes / 1e6:.0f} MB"
    )


def _bytes_per_pixel(image: ImageFile) -> int:
    if image.format == "AVIF":
        return _AVIF_BYTES
    if image.format == "HEIF":
        deep = _HEIC_DEEP_BYTES if image.info.get("bit_depth", _BITS) > _BITS else 0
        return _HEIC_BYTES + deep + _HEIC_ALPHA_BYTES * ("A" in image.getbands())
    if image.format == "WEBP":
        return _WEBP_LOSSLESS_BYTES if _WEBP_LOSSLESS in encoded_file(image) else _WEBP_BYTES
    if is_streamed(image):
        return 0
    copies = _DEEP_COLOUR_COPIES if is_deep_colour(image) else 1
    return copies * _PIXEL_BYTES.get(image.mode, _OTHER_PIXEL_BYTES)


def _kind(image: ImageFile) -> str:
    if image.info.get("coefficient_bytes"):
        return "JPEG with several scans"
    return f"{image.format} that is read as a whole"
