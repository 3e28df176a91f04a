"""A photograph of a training set, a query set or a gallery, and how its file is read and decoded."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aff_shared.errors import AffError, ImageTooManyBytesError, InvalidParameterError
from aff_shared.resource_limits import MAX_IMAGE_BYTES
from aff_toolkit.errors import TooFewImagesError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Load = Callable[[], "NDArray[np.uint8]"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SETTING = "AFF_MAX_IMAGE_BYTES"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph that is loaded on demand.

    Attributes:
        name: Unique name in its list: a path relative to the list's root, or the scene that it is rendered from.
        instance: Instance name; photographs with equal instances are positives of each other.
        load: Function that returns (H, W, 3) uint8 upright RGB, or raises AffError if the photograph cannot be read.
    """

    name: str
    instance: str
    load: Load
    payload: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


class PhotographUnreadableError(AffError):
    """A photograph's file is missing, may not be read, or is not a regular file."""

    code, status, title = "photograph_unreadable", 422, "Unreadable photograph"


def max_image_bytes() -> int:
    """Return the size of the largest image file that is read: AFF_MAX_IMAGE_BYTES, by default the services' limit.

    Raises:
        InvalidParameterError: The setting is not a number of bytes.
    """
    given = os.environ.get(_SETTING) or str(MAX_IMAGE_BYTES)
    if not given.isdecimal():
        raise InvalidParameterError(f"{given!r} is not a number of bytes", item=_SETTING)
    return int(given)


def read_photograph(path: Path) -> bytes:
    """Return the bytes of an image file, or of the file that a link leads to.

    Only regular files are opened, because reading a pipe may block, and a device may not end. The size is checked
    before reading.

    Raises:
        PhotographUnreadableError: The file is missing, may not be read, or is not a regular file.
        ImageTooManyBytesError: It is larger than max_image_bytes.
    """
    most = max_image_bytes()
    try:
        size = regular_file_size(path)
        if size > most:
            raise too_many_bytes(str(path), size)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PhotographUnreadableError(f"cannot be read: {reason}", item=str(path)) from error
    if len(data) > most:  # it grew, or hides its size as those of /proc do
        raise too_many_bytes(str(path))
    return data


def regular_file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        OSError: It is missing, or a folder, pipe, socket or device.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError("is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is not a regular file but a pipe, socket or device")
    return status.st_size


def too_many_bytes(item: str, size: int | None = None) -> ImageTooManyBytesError:
    """Return the error for a file that is larger than max_image_bytes, whose size may be unknown."""
    has = "" if size is None else f"{size:,} bytes, "
    return ImageTooManyBytesError(f"{has}more than the {max_image_bytes():,} bytes of {_SETTING}", item=item)


def load_photograph_file(path: Path, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode a file to (H, W, 3) uint8 upright RGB.

    `min_side` is the side of the largest encoder input in pixels: a large JPEG is then decoded at a reduced size, as
    the gallery indexer does it.

    Raises:
        PhotographUnreadableError: The file is missing, may not be read, or is not a regular file.
        ImageError: The image cannot be decoded; the subclass states the reason.
    """
    from aff_shared.images.decoding import ImageLimits, decode_image  # noqa: PLC0415 - imports numpy and Pillow

    return decode_image(read_photograph(path), ImageLimits(), min_side=min_side, name=str(path)).pixels


def load_below(root: str, name: str, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode the file `name` of the folder `root`: see load_photograph_file.

    A list of millions of photographs holds one partial of this function per photograph; that shares `root`, and a
    path is built only when it is needed. A name that Windows wrote, with backslashes, is found too.
    """
    path = Path(root, name)
    if "\\" in name and not path.exists():
        path = Path(root, name.replace("\\", "/"))
    return load_photograph_file(path, min_side)


def single_image_instances(instances: Iterable[str]) -> list[str]:
    """Return the sorted names of the instances that have one image: no pair can be made of them."""
    return sorted(name for name, images in Counter(instances).items() if images == 1)


def without_single_images(photographs: Sequence[Photograph]) -> tuple[list[Photograph], list[str]]:
    """Leave out instances of one image; also return their sorted names.

    Raises:
        TooFewImagesError: Nothing would be left.
    """
    single = single_image_instances(photograph.instance for photograph in photographs)
    left_out = set(single)
    kept = [photograph for photograph in photographs if photograph.instance not in left_out]
    if not kept:
        shown = ", ".join(single[:_SHOWN])
        raise TooFewImagesError(
            f"none of the {len(single)} instances ({shown}, ...) has two images, so there is nothing to compare: use "
            "the same instance for photographs of one thing, or train without labels",
            item=single[0] if single else None,
        )
    return kept, single
