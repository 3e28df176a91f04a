"""Boxes that a benchmark gives in pixels of the image as it is stored, before its EXIF orientation turns it."""

from __future__ import annotations

from aff_shared.errors import ImageError
from aff_shared.images.decoding import Crop
from aff_shared.images.formats import exif_orientation, open_image

Box = tuple[float, float, float, float]

# Where the edges left, top, right, bottom of the upright box come from: for each orientation, four edges of the
# stored box, each as (edge, whether it is measured from the far side).
_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)
_TURNS = {
    1: ((_LEFT, False), (_TOP, False), (_RIGHT, False), (_BOTTOM, False)),
    2: ((_RIGHT, True), (_TOP, False), (_LEFT, True), (_BOTTOM, False)),
    3: ((_RIGHT, True), (_BOTTOM, True), (_LEFT, True), (_TOP, True)),
    4: ((_LEFT, False), (_BOTTOM, True), (_RIGHT, False), (_TOP, True)),
    5: ((_TOP, False), (_LEFT, False), (_BOTTOM, False), (_RIGHT, False)),
    6: ((_BOTTOM, True), (_LEFT, False), (_TOP, True), (_RIGHT, False)),
    7: ((_BOTTOM, True), (_RIGHT, True), (_TOP, True), (_LEFT, True)),
    8: ((_TOP, False), (_RIGHT, True), (_BOTTOM, False), (_LEFT, True)),
}


def crop_of_stored_box(data: bytes, box: Box, *, name: str) -> Crop:
    """Return the crop, in pixels of the upright photograph, of a box in pixels of the stored one.

    The official code of Revisited Oxford and Paris crops before anything else and knows no orientation, so its boxes
    refer to the pixels as stored. Edges are rounded to whole pixels as Pillow's crop does it, and what lies beyond
    the photograph is cut off.

    Args:
        data: The image file.
        box: Left, top, right and bottom edge.
        name: Of the image, for errors.

    Raises:
        ImageError: Not an image.
        InvalidCropError: Nothing of the box lies inside the photograph.
    """
    try:
        image = open_image(data)
        size, orientation = image.size, exif_orientation(image)
    except ImageError as error:
        error.item = name
        raise
    width, height = size
    inside = tuple(min(max(round(edge), 0), far) for edge, far in zip(box, (width, height) * 2, strict=True))
    lengths = (width, height, width, height)
    left, top, right, bottom = (
        lengths[edge] - inside[edge] if far else inside[edge] for edge, far in _TURNS[orientation]
    )
    return Crop(left, top, right, bottom)
