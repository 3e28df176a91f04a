"""AVIF files, read as forgivingly as browsers read them."""

from __future__ import annotations

import re
import struct
from io import BytesIO

from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile

from aff_shared.images.heif_boxes import FULL_BOX_BYTES, Box, boxes_in, metadata, top_boxes

_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})
_MOST_BRANDS_BYTES = 1024
# Item information of an EXIF block (whose orientation AVIF does not use) or of a gain map.
_BESIDE_THE_PIXELS = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))(?:Exif|tmap)", re.DOTALL)
_TRANSFORMATIONS = frozenset({b"clap", b"irot", b"imir"})

_Associations = dict[int, list[tuple[bool, int]]]


def is_avif(data: bytes) -> bool:
    """Return whether a file may be an AVIF, by its major brand or a compatible one."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4]), _MOST_BRANDS_BYTES)
    return not _BRANDS.isdisjoint(data[place : place + 4] for place in (8, *range(16, end, 4)))


def open_avif(data: bytes) -> ImageFile:
    """Read the header of an AVIF.

    libavif is strict about containers. A file that it rejects is tried again with a repaired container: `_repaired`.

    Raises:
        ImageTooManyPixelsError: It announces more pixels than libavif decodes.
        SyntaxError, ValueError: It is damaged, or no AVIF.
    """
    try:
        return AvifImageFile(BytesIO(data), "")
    except (SyntaxError, ValueError, OSError, RuntimeError):
        mended = _repaired(data)
        if mended is None:
            raise
        return AvifImageFile(BytesIO(mended), "")


def _repaired(data: bytes) -> bytes | None:
    """Return the file with its metadata rewritten as libavif requires; None without metadata.

    EXIF, gain maps and groups are taken out, property associations put into one box, transformations marked as
    essential, and a coded picture without a size, such as an alpha plane, has that of the primary one. The new box
    is the last one, so that every offset in the file remains valid.
    """
    boxes = top_boxes(data)
    meta = metadata(boxes)
    if meta is None:
        return None
    children = list(boxes_in(data, meta.body + FULL_BOX_BYTES, meta.end))
    primary = _primary_item(data, children)
    parts = [data[meta.body : meta.body + FULL_BOX_BYTES]]
    for child in children:
        whole = data[child.start : child.end]
        if child.kind == b"iinf":
            whole = _BESIDE_THE_PIXELS.sub(rb"\1free", whole)
        elif child.kind == b"iprp":
            whole = _properties(data, child, primary)
        elif child.kind == b"grpl":
            continue
        parts.append(whole)
    brands = data[: boxes[0].end].replace(b"tmap", b"mif1")
    last = _written(boxes[-1].kind, data[boxes[-1].body : boxes[-1].end])  # its size may be "up to the end"
    before = data[boxes[0].end : meta.start + 4] + b"free" + data[meta.start + 8 : boxes[-1].start]
    return brands + before + last + _written(b"meta", b"".join(parts))


def _written(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _primary_item(data: bytes, children: list[Box]) -> int:
    return next(
        (int.from_bytes(data[box.body + FULL_BOX_BYTES : box.end]) for box in children if box.kind == b"pitm"),
        0,
    )


def _properties(data: bytes, box: Box, primary: int) -> bytes:
    inside = list(boxes_in(data, box.body, box.end))
    containers = [one for one in inside if one.kind == b"ipco"]
    kinds = [b""] + [one.kind for container in containers for one in boxes_in(data, container.body, container.end)]
    associations: _Associations = {}
    for one in inside:
        if one.kind == b"ipma":
            for item, found in _associations(data[one.body : one.end]).items():
                associations.setdefault(item, []).extend(found)
    size = next((entry for entry in associations.get(primary, ()) if _kind(kinds, entry) == b"ispe"), None)
    for item, entries in associations.items():
        of_item = [_kind(kinds, entry) for entry in entries]
        if size is not None and b"av1C" in of_item and b"ispe" not in of_item:
            entries.insert(0, size)
        associations[item] = [
            (essential or _kind(kinds, (essential, index)) in _TRANSFORMATIONS, index) for essential, index in entries
        ]
    containing = b"".join(data[container.start : container.end] for container in containers)
    return _written(b"iprp", containing + _written(b"ipma", _association_box(associations)))


def _kind(kinds: list[bytes], entry: tuple[bool, int]) -> bytes:
    return kinds[entry[1]] if entry[1] < len(kinds) else b""


def _associations(body: bytes) -> _Associations:
    """Read an ItemPropertyAssociationBox: of each item, whether a property is essential, and its number."""
    stream = BytesIO(body)
    item_bytes = 4 if stream.read(1)[0] else 2
    index_bytes = 2 if stream.read(3)[2] & 1 else 1
    found: _Associations = {}
    stream.read(4)  # the number of items
    while stream.tell() < len(body):
        item = int.from_bytes(stream.read(item_bytes))
        top = 1 << (8 * index_bytes - 1)
        numbers = [int.from_bytes(stream.read(index_bytes)) for _ in range(int.from_bytes(stream.read(1)))]
        found.setdefault(item, []).extend((bool(number & top), number % top) for number in numbers)
    return found


def _association_box(associations: _Associations) -> bytes:
    parts = [struct.pack(">BBBBI", 1, 0, 0, 1, len(associations))]
    for item, entries in sorted(associations.items()):
        numbers = [index | (0x8000 if essential else 0) for essential, index in entries[:255]]
        parts.append(struct.pack(f">IB{len(numbers)}H", item, len(numbers), *numbers))
    return b"".join(parts)
