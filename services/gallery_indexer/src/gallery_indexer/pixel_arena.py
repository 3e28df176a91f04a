"""Pixels that several processes share, so that no process has to send them to another."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

from aff_contracts.preprocessing import Preprocessing
from gallery_indexer.image_encoder import PreparedImage

_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class PixelReference:
    """Where a prepared image lies in an arena.

    Attributes:
        parts: Offset in bytes, height and width of the pixels for each extractor.
    """

    parts: tuple[tuple[int, int, int], ...]


class SharedImage(PreparedImage):
    """A prepared image whose pixels lie in an arena."""

    reference: PixelReference


class PixelArena:
    """Memory for a number of prepared images, each in a slot of its own; it goes along to processes that are started.

    Memory that was never written to takes none. Who owns a slot is the business of the process that made the arena.

    Args:
        preprocessings: Of the extractors.
        slots: Images that are alive at the same time.
    """

    def __init__(self, preprocessings: Sequence[Preprocessing], slots: int) -> None:
        self.slots = slots
        self._slot_bytes = _CHANNELS * sum(spec.size**2 for spec in set(preprocessings))
        self._open(_anonymous_file(slots * self._slot_bytes))

    def store(self, slot: int, image: PreparedImage) -> PixelReference:
        """Write a prepared image into a slot; pixels that extractors share are written once."""
        offsets: dict[int, int] = {}
        end = slot * self._slot_bytes
        for pixels in image:
            if id(pixels) not in offsets:
                offsets[id(pixels)] = end
                np.copyto(self._view(end, *pixels.shape[:2]), pixels)
                end += pixels.nbytes
        assert end <= (slot + 1) * self._slot_bytes, "no input is larger than its preprocessing says"
        return PixelReference(tuple((offsets[id(pixels)], *pixels.shape[:2]) for pixels in image))

    def image(self, reference: PixelReference) -> SharedImage:
        """Return the image that lies there, without copying; it changes when its slot is written to again."""
        views = {part: self._view(*part) for part in set(reference.parts)}
        image = SharedImage(views[part] for part in reference.parts)
        image.reference = reference
        return image

    def __getstate__(self) -> dict[str, Any]:
        """Give what a process that is being started needs."""
        return {"slots": self.slots, "slot_bytes": self._slot_bytes, "file": DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Share the memory in a process that was started."""
        self.slots = state["slots"]
        self._slot_bytes = state["slot_bytes"]
        self._open(state["file"].detach())

    def __del__(self) -> None:
        """Let go of the file; the memory goes with the last view."""
        os.close(self._file)

    def _open(self, file: int) -> None:
        self._file = file
        self._memory = np.frombuffer(mmap.mmap(file, self.slots * self._slot_bytes), dtype=np.uint8)

    def _view(self, offset: int, height: int, width: int) -> Any:
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
