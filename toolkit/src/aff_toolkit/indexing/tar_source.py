"""Images in tar files, among them WebDataset's shards."""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from glob import has_magic

from aff_contracts.schemas.indexing import JsonObject
from aff_toolkit.indexing.file_systems import Place
from aff_toolkit.indexing.source_item import SourceError, SourceItem, unusable
from aff_toolkit.photograph_files import is_image_name

# What the standard library's readers let out on damaged files.
_DAMAGE = (OSError, tarfile.TarError, EOFError, TypeError, ValueError, zlib.error, lzma.LZMAError)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def tar_items(location: str) -> Iterator[SourceItem]:
    """Give the images in tar files, read once from beginning to end; nothing is unpacked.

    An item's id is the member's name. A member of the same name with the suffix .json that stands beside an image,
    as in WebDataset, is its payload. Members that are neither are passed over.

    Args:
        location: A path or URL, of one file or with a range as in `shard-{0000..0099}.tar` or wildcards.

    Raises:
        SourceError: A file cannot be read, or is no tar file.
    """
    for place in _shards(location):
        try:
            with place.open() as file, tarfile.open(fileobj=file, mode="r|*") as archive:
                yield from _with_payloads(_members(archive), str(place))
        except _DAMAGE as error:
            raise SourceError(f"cannot be read: {error}", item=str(place)) from error


def _shards(location: str) -> Iterator[Place]:
    span = _RANGE.search(location)
    if span is not None:
        first, last = span[1], span[2]
        for number in range(int(first), int(last) + 1):
            yield from _shards(f"{location[: span.start()]}{number:0{len(first)}d}{location[span.end() :]}")
    elif has_magic(location):
        yield from Place.at(location).glob()
    else:
        yield Place.at(location)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        name = member.name
        if member.isfile() and (is_image_name(name) or name.endswith(".json")):
            file = archive.extractfile(member)
            assert file is not None, "a regular member has content"
            yield name, file.read()


def _with_payloads(members: Iterator[tuple[str, bytes]], archive: str) -> Iterator[SourceItem]:
    """Bring images and payloads of one key together; in a shard they are neighbours."""
    key: str | None = None
    images: list[tuple[str, bytes]] = []
    payload = b"{}"
    for name, data in members:
        if _key(name) != key:
            yield from _items(images, payload, archive)
            key, images, payload = _key(name), [], b"{}"
        if name.endswith(".json"):
            payload = data
        else:
            images.append((name, data))
    yield from _items(images, payload, archive)


def _key(name: str) -> str:
    """Return what WebDataset takes for the key: the path up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _items(images: list[tuple[str, bytes]], payload: bytes, archive: str) -> Iterator[SourceItem]:
    parsed: JsonObject | None
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):
        parsed = None
    for name, data in images:
        location = f"{archive}, {name}"
        if isinstance(parsed, dict):
            yield SourceItem(name, location, lambda data=data: data, parsed)  # type: ignore[misc]
        else:
            yield unusable(name, location, f"{_key(name)}.json is not a JSON object")
