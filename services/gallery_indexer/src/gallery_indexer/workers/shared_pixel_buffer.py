"""Pixels that several processes share, so that no process has to send them to another."""

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
    """Where a prepared image lies in an arena.

    Attributes:
        slot: Number of its slot.
        sizes: Height and width of the pixels for each extractor.
    """

    slot: int
    sizes: tuple[tuple[int, int], ...]


class SharedImage(EncoderInput):
    """A prepared image whose pixels lie in an arena."""

    reference: PixelReference


class SharedPixelBuffer:
    """Memory for a number of prepared images, each in a slot of its own.

    Memory that was never written to takes none. Who owns a slot is the business of the process that made the arena.

    Args:
        preprocessings: Of the extractors.
        slots: Images that are alive at the same time.
        file: Descriptor of an arena that another process made with the same arguments, and left to this one.
    """

    def __init__(self, preprocessings: Sequence[Preprocessing], slots: int, file: int | None = None) -> None:
        self.slots = slots
        self._preprocessings = tuple(preprocessings)
        self._offsets: dict[Preprocessing, int] = {}  # in a slot; those that are equal share the pixels
        self._slot_bytes = 0
        for one in dict.fromkeys(preprocessings):
            self._offsets[one] = self._slot_bytes
            self._slot_bytes += _CHANNELS * one.size**2
        self.file = _anonymous_file(slots * self._slot_bytes) if file is None else file
        self._memory = np.frombuffer(mmap.mmap(self.file, slots * self._slot_bytes), dtype=np.uint8)

    def store(self, slot: int, image: EncoderInput) -> PixelReference:
        """Write a prepared image into a slot; pixels that extractors share are written once."""
        sizes = tuple((len(pixels), pixels.shape[1]) for pixels in image)
        shared = self.image(PixelReference(slot, sizes))
        for view, pixels in {id(view): (view, pixels) for view, pixels in zip(shared, image, strict=True)}.values():
            np.copyto(view, pixels)
        return shared.reference

    def image(self, reference: PixelReference) -> SharedImage:
        """Return the image that lies there, without copying; it changes when its slot is written to again.

        Raises:
            WorkerError: No image that was prepared for these extractors lies in a slot like that.
        """
        placed = list(zip(self._preprocessings, reference.sizes, strict=False))
        fitting = all(1 <= height <= one.size and 1 <= width <= one.size for one, (height, width) in placed)
        if not fitting or len(reference.sizes) != len(self._preprocessings) or not 0 <= reference.slot < self.slots:
            raise WorkerError("the prepared image has other sizes than its extractors take")
        start = reference.slot * self._slot_bytes
        views = {part: self._view(start + self._offsets[part[0]], *part[1]) for part in dict.fromkeys(placed)}
        image = SharedImage(views[part] for part in placed)
        image.reference = reference
        return image

    def __del__(self) -> None:
        """Let go of the file; the memory goes with the last view."""
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
