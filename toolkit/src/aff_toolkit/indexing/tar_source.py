"""Images in tar files, among them WebDataset's shards."""

from __future__ import annotations

import json
import re
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import has_magic

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import JsonObject
from aff_toolkit.data.image_files import encodable, is_hidden, is_image_name
from aff_toolkit.data.photograph import max_image_bytes, too_many_bytes
from aff_toolkit.indexing.file_systems import Place
from aff_toolkit.indexing.remote_files import without_query
from aff_toolkit.indexing.source_item import SourceError, SourceItem, id_of_path, reading, unusable

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_JSON = ".json"
_MOST_PAYLOAD_BYTES = 2**20
_MOST_WAITING = 32  # images of one key, which a payload may follow


def tar_items(location: str) -> Iterator[SourceItem]:
    """Yield the images in tar files, read once from beginning to end; nothing is unpacked.

    An item's id is the member's name without `./` and `../` before it. A member with the suffix .json is the payload of
    an
    image, as in WebDataset, where their names are the same up to the first dot: of several, the one that has
    most of the image's name. Other members and hidden ones are left out. Links fail.

    Args:
        location: A path or URL, of one file or with a range as in `shard-{0000..0099}.tar` or wildcards.

    Raises:
        SourceError: A file cannot be read, is not a tar file, or none of them holds an image.
    """
    empty = True
    for place in _shards(location):
        with reading(str(place)), place.open() as file, tarfile.open(fileobj=file, mode="r|*") as archive:
            for item in _with_payloads(_members(archive), str(place)):
                empty = False
                yield item
    if empty:
        raise SourceError("holds no image files", item=location)


def _shards(location: str) -> Iterator[Place]:
    place, span = Place.at(location), _RANGE.search(location)
    if place.local and place.exists():
        yield place
    elif span is not None:
        first, last = span[1], span[2]
        for number in range(int(first), int(last) + 1):
            yield from _shards(f"{location[: span.start()]}{number:0{len(first)}d}{location[span.end() :]}")
    elif has_magic(without_query(location)):
        found = list(place.glob())
        if not found:
            raise SourceError("no file has such a name", item=location)
        yield from found
    else:
        yield place


@dataclass(frozen=True, slots=True)
class _Member:
    """An image or a payload of a tar file; `problem` is why its data is not there."""

    name: str
    data: bytes
    problem: str | AffError = ""

    @property
    def key(self) -> str:
        """The key of WebDataset: the path up to the first dot of the file's name."""
        folder, slash, file = self.name.rpartition("/")
        return folder + slash + file.partition(".")[0]

    @property
    def is_payload(self) -> bool:
        return self.name.lower().endswith(_JSON)


def _members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for member in archive:
        name = id_of_path(encodable(member.name))
        named = is_image_name(name) or name.lower().endswith(_JSON)
        if named and not is_hidden(name) and not member.isdir():
            problem = _problem(member, name)
            file = None if problem else archive.extractfile(member)
            yield _Member(name, b"" if file is None else file.read(), problem)


def _problem(member: tarfile.TarInfo, name: str) -> str | AffError:
    """Return why a member cannot be read; empty where it can."""
    if member.issym() or member.islnk():
        return (
            f"is a link to {encodable(member.linkname)}; pack what links lead to: tar --dereference --hard-dereference"
        )
    if not member.isfile():
        return "is not a regular file"
    if is_image_name(name):
        return too_many_bytes(name, member.size) if member.size > max_image_bytes() else ""
    return f"has more than {_MOST_PAYLOAD_BYTES:,} bytes" if member.size > _MOST_PAYLOAD_BYTES else ""


def _with_payloads(members: Iterator[_Member], archive: str) -> Iterator[SourceItem]:
    """Combine images and payloads of one key, which are neighbours in a shard."""
    key: str | None = None
    waiting: deque[_Member] = deque()
    payloads: dict[str, _Member] = {}
    for member in members:
        if member.key != key:
            yield from (_item(image, payloads, archive) for image in waiting)
            key, waiting, payloads = member.key, deque(), {}
        if member.is_payload:
            payloads[member.name[: -len(_JSON)]] = member
            if len(payloads) > 2 * _MOST_WAITING:  # twice, because they may precede their images
                del payloads[next(iter(payloads))]
        else:
            waiting.append(member)
            if len(waiting) > _MOST_WAITING:
                yield _item(waiting.popleft(), payloads, archive)
    yield from (_item(image, payloads, archive) for image in waiting)


def _item(image: _Member, payloads: Mapping[str, _Member], archive: str) -> SourceItem:
    location = f"{archive}, {image.name}"
    if image.problem:
        return unusable(image.name, location, image.problem)
    stem = _payload_stem(image.name, payloads)
    if stem is None:
        return SourceItem(image.name, location, lambda: image.data)
    own = payloads[stem]
    payload = _json_object(own.data)
    if payload is None:
        return unusable(image.name, location, f"{own.name} {own.problem or 'is not a JSON object'}")
    return SourceItem(image.name, location, lambda: image.data, payload)


def _payload_stem(name: str, stems: Mapping[str, _Member]) -> str | None:
    """Return whose payload an image's is: `a.b.jpg` has that of a.b.jpg, a.b, a; else one as of a.b.more."""
    before = [stem for stem in stems if f"{name}.".startswith(f"{stem}.")]
    if before:
        return max(before, key=len)
    after = [stem for stem in stems if stem.startswith(f"{name.rpartition('.')[0]}.")]
    return min(after, key=len, default=None)


def _json_object(data: bytes) -> JsonObject | None:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
