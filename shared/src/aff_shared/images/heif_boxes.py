"""The boxes of AVIF and HEIC files, with the sizes and the AV1 data of their pictures, without a decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import NamedTuple

from aff_shared.errors import ImageTooManyPixelsError

_MOST_PIXELS, _LONGEST_SIDE = 16_384 * 16_384, 32_768  # of libavif
# The identifier of an item of AV1 data, in two or four bytes. Item information may overlap in a file made to deceive.
_AV1_ITEM = re.compile(rb"(?=infe(?:\x02.{3}(.{2})|\x03.{3}(.{4})).{2}av01)", re.DOTALL)
_MOST_PICTURES = 1024  # tiles count
_DESCRIPTIONS = frozenset({b"meta", b"moov"})
_TRACK = (b"trak", b"mdia", b"minf", b"stbl")

_Extents = tuple[tuple[int, int], ...]


def check_announced_size(data: bytes) -> None:
    """Reject an AVIF or HEIC that its library does not open because of its size.

    Raises:
        ImageTooManyPixelsError: It announces more pixels than the library decodes.
    """
    for width, height in announced_sizes(data):
        if width * height > _MOST_PIXELS or max(width, height) > _LONGEST_SIDE:
            raise ImageTooManyPixelsError(f"{width} x {height} pixels; the library's limit is {_MOST_PIXELS}")


def announced_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Return width and height of each picture in an AVIF or HEIC: the image, its tiles, its thumbnails."""
    meta = metadata(top_boxes(data))
    for box in inner_boxes(data, meta, b"iprp", b"ipco", b"ispe") if meta else []:
        width = int.from_bytes(data[box.body + FULL_BOX_BYTES : box.body + FULL_BOX_BYTES + 4])
        yield width, int.from_bytes(data[box.body + FULL_BOX_BYTES + 4 : box.end])


def coded_pictures(data: bytes) -> Iterator[bytes]:
    """Return the AV1 data of each picture in an AVIF: of each item, tiles and alpha too, and the first of each track.

    Raises:
        ValueError: There are too many, or more metadata than are looked at.
    """
    boxes = top_boxes(data)
    described = [box.end - box.start for box in boxes if box.kind in _DESCRIPTIONS]
    if len(boxes) == MOST_BOXES or max(described, default=0) > MOST_METADATA_BYTES:
        raise ValueError("an AVIF of too many metadata")
    meta = metadata(boxes)
    places: set[tuple[int, _Extents]] = {(0, (frame,)) for frame in _first_frames(data, boxes)}
    inside = b""
    if meta is not None:
        inside = b"".join(data[box.body : box.end] for box in inner_boxes(data, meta, b"idat"))
        found = _AV1_ITEM.finditer(data, meta.body, meta.end)
        coded = {int.from_bytes(match[1] or match[2]) for match in found}
        places |= {(method, extents) for item, method, extents in item_locations(data, meta) if item in coded}
    if len(places) > _MOST_PICTURES or sum(size for _, extents in places for _, size in extents) > 4 * len(data):
        raise ValueError("an AVIF of too many pictures")
    for method, extents in places:
        source = inside if method else data
        yield b"".join(source[start : start + size] for start, size in extents)


def _first_frames(data: bytes, boxes: list[Box]) -> Iterator[tuple[int, int]]:
    """Return the place and the number of bytes of the first frame of each track."""
    for movie in boxes:
        tables = [movie] if movie.kind == b"moov" else []
        for kind in _TRACK:
            tables = [box for outer in tables for box in boxes_in(data, outer.body, outer.end) if box.kind == kind]
        for table in tables:
            content = {box.kind: data[box.body : box.end] for box in boxes_in(data, table.body, table.end)}
            if b"av01" not in content.get(b"stsd", b""):
                continue
            chunk = content.get(b"stco", b"")[8:12] or content.get(b"co64", b"")[8:16]
            sizes = content.get(b"stsz", b"")
            yield int.from_bytes(chunk), int.from_bytes(sizes[4:8]) or int.from_bytes(sizes[12:16])


def item_locations(data: bytes, meta: Box) -> Iterator[tuple[int, int, _Extents]]:
    """Read ItemLocationBoxes: of each item its number, construction method, and places and numbers of bytes."""
    for box in inner_boxes(data, meta, b"iloc"):
        stream = BytesIO(data[box.body : box.end])
        version, sizes = stream.read(FULL_BOX_BYTES)[0], int.from_bytes(stream.read(2))
        offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        id_bytes = 4 if version > 1 else 2
        for _ in range(int.from_bytes(stream.read(id_bytes))):
            item = int.from_bytes(stream.read(id_bytes))
            method = int.from_bytes(stream.read(2)) & 15 if version else 0
            base = int.from_bytes(stream.read(2 + base_bytes)[2:])
            extents: list[tuple[int, int]] = []
            count = int.from_bytes(stream.read(2))
            for _ in range(min(count, (box.end - box.body - stream.tell()) // length_bytes) if length_bytes else 0):
                stream.read(index_bytes if version else 0)
                place = base + int.from_bytes(stream.read(offset_bytes))
                extents.append((place, int.from_bytes(stream.read(length_bytes))))
            yield item, method, tuple(extents)
            if stream.tell() == box.end - box.body:
                break


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
    """Return the first top-level boxes of a file."""
    return list(islice(boxes_in(data, 0, len(data)), MOST_BOXES))


def metadata(boxes: list[Box]) -> Box | None:
    """Return the meta box among these, unless it is missing or too large to be parsed."""
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
    """Return the boxes in a meta box along a path of these kinds, from the outside in."""
    found = [Box(meta.kind, meta.start, meta.body + FULL_BOX_BYTES, meta.end)]
    for kind in kinds:
        found = [box for outer in found for box in boxes_in(data, outer.body, outer.end) if box.kind == kind]
    return found
