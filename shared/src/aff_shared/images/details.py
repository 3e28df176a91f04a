"""Details of a photograph for its payload: file name and folder, and what the camera recorded (EXIF).

A service reads them in its own process, from files that it does not trust. So the parsers are pure Python, call no
library of an image format, and read only the tags below, each up to a limit.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

from aff_shared.errors import TruncatedImageError
from aff_shared.images.heif_boxes import inner_boxes, item_locations, metadata, top_boxes
from aff_shared.images.jpeg import segments

_MAKE, _MODEL, _EXIF_DIRECTORY, _GPS_DIRECTORY = 0x010F, 0x0110, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _OFFSET_TIME_ORIGINAL = 0x9003, 0x9011
_LATITUDE_REFERENCE, _LATITUDE, _LONGITUDE_REFERENCE, _LONGITUDE = 1, 2, 3, 4

_TYPE_BYTES = {2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 13: 4, 129: 1}
_INTEGERS = {3: "H", 4: "I", 13: "I"}
_RATIONALS = {5: "II", 10: "ii"}
_ENTRY_BYTES, _FIELD_BYTES = 12, 4
_MOST_ENTRIES = 1024  # of a directory
_MOST_VALUE_BYTES = 1024
_MOST_CHUNKS = 4096  # of a PNG or WebP, and items of a HEIC
_MOST_ITEM_BYTES = 4 << 20
_LONGEST_CAMERA, _LONGEST_NAME = 128, 255

_JPEG, _PNG, _RIFF, _WEBP, _FILE_TYPE = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP", b"ftyp"
_APPLICATION_1, _START_OF_SCAN = 0xE1, 0xDA
_EXIF_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_EXIF_ITEM = re.compile(rb"infe(?:\x02.{3}(.{2})|\x03.{3}(.{4})).{2}Exif", re.DOTALL)

_MOMENT = re.compile(r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)", re.ASCII)
_LARGEST_OFFSET = timedelta(hours=14)
_YEARS = range(1800, 9999)  # others are placeholders
_MOST_SIXTIETHS = 60
_FOLDER_AND_NAME = re.compile(r"(?:(.*)[/\\])?(.*)", re.DOTALL)
_FILE_NAME = re.compile(r".+\.[A-Za-z0-9]{2,5}", re.DOTALL)


def photograph_details(
    data: bytes, item_id: str | None = None, name: str | None = None, *, location: bool = True
) -> dict[str, Any]:
    """Return the details of an image file that are known, as a JSON object for its payload.

    Damaged or implausible metadata are left out; nothing is raised for them.

    Args:
        data: The image file. EXIF is read from JPEG, PNG, WebP, HEIC, AVIF and TIFF.
        item_id: Id of the image, if the caller chose one. If it is a path, it contains the folder and the file name.
        name: File name, with or without folders, in case the id is not a path.
        location: Whether to return the position.

    Returns:
        file_name: The last part of the path.
        folder: The id without its last part.
        taken_at: DateTimeOriginal with OffsetTimeOriginal (RFC 3339); in UTC if the camera recorded no offset.
        camera: Make and model.
        location: `lat` and `lon` in degrees, rounded to a tenth of a metre.
    """
    block = _exif(data).removeprefix(_EXIF_PREFIX)
    main = _Directory(block, _header_offset(block))
    photograph = _Directory(block, main.integer(_EXIF_DIRECTORY))
    details = {
        **_names(item_id or "", name or ""),
        "taken_at": _moment(photograph.text(_DATE_TIME_ORIGINAL), photograph.text(_OFFSET_TIME_ORIGINAL)),
        "camera": _camera(main.text(_MAKE), main.text(_MODEL)),
        "location": _position(_Directory(block, main.integer(_GPS_DIRECTORY))) if location else None,
    }
    return {key: value for key, value in details.items() if value}


def _names(item_id: str, name: str) -> dict[str, str]:
    folder, last = _split(item_id)
    if not folder and not _FILE_NAME.fullmatch(last):
        last = _split(name)[1]
    return {"file_name": _encodable(last[:_LONGEST_NAME]), "folder": _encodable(folder)}


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()  # an upload's name may contain a lone surrogate


def _split(path: str) -> tuple[str, str]:
    found = _FOLDER_AND_NAME.fullmatch(path)
    return (found[1] or "", found[2]) if found else ("", path)


def _moment(text: str, offset: str) -> str | None:
    found = _MOMENT.fullmatch(text)
    if found is None or int(found[1]) not in _YEARS:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=_time_zone(offset)).isoformat()
    except ValueError:  # month 13
        return None


def _time_zone(offset: str) -> timezone:
    found = _OFFSET.fullmatch(offset)
    east = timedelta(hours=int(found[2]), minutes=int(found[3])) if found else timedelta(0)
    if found is None or east > _LARGEST_OFFSET:
        return UTC
    return timezone(east if found[1] == "+" else -east)


def _camera(make: str, model: str) -> str:
    """Return make and model; the model alone if it begins with the make, as `Canon EOS 5D` does."""
    repeated = bool(make) and model.casefold().startswith(make.split(maxsplit=1)[0].casefold())
    return (model if repeated else f"{make} {model}").strip()[:_LONGEST_CAMERA].strip()


def _position(gps: _Directory) -> dict[str, float] | None:
    latitude = _degrees(gps.rationals(_LATITUDE), gps.text(_LATITUDE_REFERENCE), "NS", 90)
    longitude = _degrees(gps.rationals(_LONGITUDE), gps.text(_LONGITUDE_REFERENCE), "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:  # 0, 0 is written without a fix
        return None
    return {"lat": latitude, "lon": longitude}


def _degrees(parts: tuple[float, ...], direction: str, directions: str, most: int) -> float | None:
    """Return an angle from degrees, minutes and seconds, the last ones optional."""
    sixtieths = parts[1:]
    if len(direction) != 1 or direction not in directions or len(parts) not in (1, 2, 3):
        return None
    degrees: float = sum(part / _MOST_SIXTIETHS**power for power, part in enumerate(parts))
    if min(parts) < 0 or max(sixtieths, default=0) > _MOST_SIXTIETHS or degrees > most:
        return None
    return round(degrees if direction == directions[0] else -degrees, 6)


class _Directory:
    """A directory of tags in an EXIF block.

    Args:
        block: The block: a TIFF file without an image, or with one.
        offset: Where the directory begins in it; 0 for no directory.
    """

    def __init__(self, block: bytes, offset: int) -> None:
        self._block = block
        self._order = _BYTE_ORDERS.get(block[:4], "")
        self._entries: dict[int, tuple[int, int, bytes]] = {}
        begin = offset + 2
        if offset and self._order and begin <= len(block):
            count = min(int(struct.unpack_from(self._order + "H", block, offset)[0]), _MOST_ENTRIES)
            whole = min(count, (len(block) - begin) // _ENTRY_BYTES)
            entries = block[begin : begin + whole * _ENTRY_BYTES]
            for tag, kind, length, field in struct.iter_unpack(self._order + "HHI4s", entries):
                self._entries.setdefault(tag, (kind, length, field))

    def text(self, tag: int) -> str:
        """Return a text without padding and control characters; empty without one."""
        encoded = self._value(tag)[1].partition(b"\0")[0]
        try:
            text = encoded.decode()
        except UnicodeDecodeError:
            text = encoded.decode("latin-1")
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

    def rationals(self, tag: int) -> tuple[float, ...]:
        """Return rationals; none if a denominator is zero."""
        kind, value = self._value(tag)
        pairs = list(struct.iter_unpack(self._order + _RATIONALS[kind], value)) if kind in _RATIONALS else []
        return tuple(above / below for above, below in pairs) if all(below for _, below in pairs) else ()

    def integer(self, tag: int) -> int:
        """Return an unsigned integer; 0 without one."""
        kind, value = self._value(tag)
        form = self._order + _INTEGERS.get(kind, "")
        return int(struct.unpack_from(form, value)[0]) if kind in _INTEGERS and value else 0

    def _value(self, tag: int) -> tuple[int, bytes]:
        """Return type and encoded values of a tag; no values if they are too long or not in the block."""
        kind, length, field = self._entries.get(tag, (0, 0, b""))
        size = _TYPE_BYTES.get(kind, 0) * length
        if size <= _FIELD_BYTES:
            return kind, field[:size]
        start = int(struct.unpack(self._order + "I", field)[0])
        value = self._block[start : start + min(size, _MOST_VALUE_BYTES + 1)]
        return kind, value if len(value) == size else b""


def _header_offset(block: bytes) -> int:
    order = _BYTE_ORDERS.get(block[:4])
    return int(struct.unpack_from(order + "I", block, 4)[0]) if order and len(block) > _ENTRY_BYTES else 0


def _exif(data: bytes) -> bytes:
    """Return the EXIF block of an image file; empty without one. A TIFF is its own."""
    if data.startswith(_JPEG):
        return _exif_of_jpeg(data)
    if data.startswith(_PNG):
        return _chunk(data, b"eXIf", start=len(_PNG))
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        return _chunk(data, b"EXIF", start=12)
    if data[4:8] == _FILE_TYPE:
        with suppress(LookupError):  # a box is cut
            return _exif_of_heic(data)
    return data if data[:4] in _BYTE_ORDERS else b""


def _exif_of_jpeg(data: bytes) -> bytes:
    with suppress(TruncatedImageError):
        for segment in segments(data):
            if segment.marker == _START_OF_SCAN:
                break
            if segment.marker == _APPLICATION_1 and data.startswith(_EXIF_PREFIX, segment.body, segment.end):
                return data[segment.body : segment.end]
    return b""


def _chunk(data: bytes, wanted: bytes, start: int) -> bytes:
    """Return the content of the first chunk of a kind; of a PNG, or of a WebP with sizes in the other order."""
    is_png = data.startswith(_PNG)
    for _ in range(_MOST_CHUNKS):
        words = data[start : start + 4], data[start + 4 : start + 8]
        size, kind = (int.from_bytes(words[0]), words[1]) if is_png else (int.from_bytes(words[1], "little"), words[0])
        if kind == wanted or start >= len(data):
            return data[start + 8 : start + 8 + size]
        start += 8 + size + (4 if is_png else size % 2)  # checksum, or padding
    return b""


def _exif_of_heic(data: bytes) -> bytes:
    """Return the EXIF of a HEIC or AVIF: an item that begins with the number of bytes before the block."""
    meta = metadata(top_boxes(data))
    found = _EXIF_ITEM.search(data, meta.body, meta.end) if meta else None
    if meta is None or found is None:
        return b""
    number = int.from_bytes(found[1] or found[2])
    for item, method, extents in islice(item_locations(data, meta), _MOST_CHUNKS):
        if item == number and sum(size for _, size in extents) <= _MOST_ITEM_BYTES:
            inner = inner_boxes(data, meta, b"idat") if method else []
            begin = inner[0].body if inner else 0
            content = b"".join(data[begin + start : begin + start + size] for start, size in extents)
            return content[4 + int.from_bytes(content[:4]) :]
    return b""
