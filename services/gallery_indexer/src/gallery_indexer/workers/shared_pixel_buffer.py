"""Pixels in memory that several processes share."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aff_shared.errors import WorkerError
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.image_encoder import EncoderInput, Pixels

_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class PixelReference:
    """Reference to a prepared image in a shared buffer.

    Attributes:
        slot: Number of its slot.
        sizes: Height and width of the pixels for each extractor.
    """

    slot: int
    sizes: tuple[tuple[int, int], ...]


class SharedImage(EncoderInput):
    """The input of an encoder with its pixels in a shared buffer."""

    reference: PixelReference


class SharedPixelBuffer:
    """Shared memory for prepared images, one per slot.

    Pages that were never written take no memory. The process that created the buffer assigns the slots.

    Args:
        preprocessings: Preprocessing of each extractor.
        slots: Number of slots.
        file: File descriptor of a buffer that another process created with the same arguments; None creates one.
    """

    def __init__(self, preprocessings: Sequence[Preprocessing], slots: int, file: int | None = None) -> None:
        self.slots = slots
        self._preprocessings = tuple(preprocessings)
        self._offsets: dict[Preprocessing, int] = {}  # in a slot; equal preprocessings share the pixels
        self._slot_bytes = 0
        for one in dict.fromkeys(preprocessings):
            self._offsets[one] = self._slot_bytes
            self._slot_bytes += _CHANNELS * one.size**2
        self.file = _anonymous_file(slots * self._slot_bytes) if file is None else file
        self._memory = np.frombuffer(mmap.mmap(self.file, slots * self._slot_bytes), dtype=np.uint8)

    def store(self, slot: int, image: EncoderInput) -> PixelReference:
        """Write a prepared image into a slot; shared pixels are written once."""
        sizes = tuple((len(pixels), pixels.shape[1]) for pixels in image)
        shared = self.image(PixelReference(slot, sizes))
        for view, pixels in {id(view): (view, pixels) for view, pixels in zip(shared, image, strict=True)}.values():
            np.copyto(view, pixels)
        return shared.reference

    def image(self, reference: PixelReference) -> SharedImage:
        """Return the image of a reference as views, which change when the slot is written again.

        Raises:
            WorkerError: The slot does not exist, or the sizes are not those of these extractors.
        """
        placed = list(zip(self._preprocessings, reference.sizes, strict=False))
        fitting = all(1 <= height <= one.size and 1 <= width <= one.size for one, (height, width) in placed)
        if not fitting or len(reference.sizes) != len(self._preprocessings) or not 0 <= reference.slot < self.slots:
            raise WorkerError("the prepared image does not have the sizes of its extractors' inputs")
        start = reference.slot * self._slot_bytes
        views = {part: self._view(start + self._offsets[part[0]], *part[1]) for part in dict.fromkeys(placed)}
        image = SharedImage(views[part] for part in placed)
        image.reference = reference
        return image

    def __del__(self) -> None:
        """Close the file; the memory is freed with the last view."""
        os.close(self.file)

    def _view(self, offset: int, height: int, width: int) -> Pixels:
        shape = (height, width, _CHANNELS)
        return self._memory[offset : offset + math.prod(shape)].reshape(shape)


def _anonymous_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("aff-pixels")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.truncate(file, size)
    return file
