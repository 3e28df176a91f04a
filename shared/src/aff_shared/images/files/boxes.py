"""The boxes that AVIF and HEIC files consist of (ISO base media file format)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

FULL_BOX_BYTES = 4  # bytes of version and flags
MOST_BOXES = 256  # in the file; more are not looked at
MOST_METADATA_BYTES = 1 << 20  # of a box of metadata that is looked at


class Box(NamedTuple):
    """A box: its kind in four bytes, and the places in the file where it, its body and what follows it begin."""

    kind: bytes
    start: int
    body: int
    end: int


def top_boxes(data: bytes) -> list[Box]:
    """Return the first boxes of a file that lie in no other one."""
    return list(islice(boxes_in(data, 0, len(data)), MOST_BOXES))


def metadata(boxes: list[Box]) -> Box | None:
    """Return the meta box among these, where there is one that is not too large to be looked at."""
    return next((box for box in boxes if box.kind == b"meta" and box.end - box.start <= MOST_METADATA_BYTES), None)


def boxes_in(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Return the boxes that follow each other in a part of a file, up to a damaged one."""
    while start + 8 <= end:
        size, kind, body = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], start + 8
        if size == 1:
            size, body = int.from_bytes(data[body : body + 8]), body + 8
        elif size == 0:
            size = end - start
        if size < body - start or start + size > end:
            return
        yield Box(kind, start, body, start + size)
        start += size


def inner_boxes(data: bytes, meta: Box, *kinds: bytes) -> list[Box]:
    """Return the boxes that lie in a meta box under these kinds, from the outside in."""
    found = [Box(meta.kind, meta.start, meta.body + FULL_BOX_BYTES, meta.end)]
    for kind in kinds:
        found = [box for outer in found for box in boxes_in(data, outer.body, outer.end) if box.kind == kind]
    return found
