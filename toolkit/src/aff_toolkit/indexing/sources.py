"""Sources of images, distinguished by their form: folders, patterns and files here, lists and tar files elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto
from glob import has_magic
from pathlib import Path, PurePosixPath

from aff_shared.schemas.indexing import IMAGE_SUFFIXES
from aff_toolkit.data.hub_datasets import DATA_SUFFIXES, is_data_folder, is_hub_name
from aff_toolkit.data.image_files import UnreadableFolderError, encodable, is_image_name
from aff_toolkit.indexing.file_systems import FilePattern, Place, has_protocol
from aff_toolkit.indexing.manifest_source import manifest_items
from aff_toolkit.indexing.remote_files import without_query
from aff_toolkit.indexing.source_item import SourceError, SourceItem, below, storable
from aff_toolkit.indexing.tar_source import tar_items


def file_items(location: str, passed_over: Counter[str] | None = None) -> Iterator[SourceItem]:
    """Yield the images below a folder, those that a pattern such as `photos/**/*.jpg` matches, or one file.

    An item's id is its path within the folder, or within the part of the pattern before its first wildcard; so a second
    run has the same IDs. An existing path with wildcard characters is used literally. A folder that cannot be read is
    yielded as a failing item.

    Args:
        location: A path, or a URL of one of fsspec's file systems.
        passed_over: Counter of files whose names are not those of images, by suffix.

    Raises:
        SourceError: The path does not exist, or there are no image files.
    """
    passed_over = Counter() if passed_over is None else passed_over
    place = Place.at(location)
    if place.is_folder():
        yield from _folder_items(place, None, passed_over)
    elif place.exists():
        yield _item(place, place.path.rpartition("/")[0])
    elif has_magic(without_query(location)):
        pattern = place.pattern()
        yield from _folder_items(place.with_path(pattern.root), pattern, passed_over)
    else:
        raise SourceError("the folder or file does not exist", item=location)


def _folder_items(root: Place, pattern: FilePattern | None, passed_over: Counter[str]) -> Iterator[SourceItem]:
    empty = True
    for file in root.files_below(pattern.may_match_below if pattern else None):
        if isinstance(file, UnreadableFolderError):
            if file.item == root.path:
                raise SourceError(file.detail, item=str(root)) from file
            yield _unreadable(root.with_path(str(file.item)), root.path, file)
        elif pattern and not pattern.matches(file.path):
            continue
        elif is_image_name(file.path):
            empty = False
            yield _item(file, root.path)
        else:
            passed_over[PurePosixPath(encodable(file.path)).suffix.lower()] += 1
    if empty:
        location = f"{root}/{'/'.join(pattern.parts)}" if pattern else str(root)
        others = f"; passed over: {in_words(passed_over)}" if passed_over else ""
        raise SourceError(f"holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))}){others}", item=location)


def in_words(passed_over: Counter[str], most: int = 10) -> str:
    """Return counts of files by suffix as text, for the most frequent suffixes."""
    counts = [f"{count} {suffix or 'without suffix'}" for suffix, count in passed_over.most_common(most)]
    others = passed_over.total() - sum(count for _, count in passed_over.most_common(most))
    return ", ".join(counts + [f"{others} others"] * bool(others))


def _item(file: Place, root: str) -> SourceItem:
    return SourceItem(_id_below(file, root), str(file), file.read)


def _unreadable(folder: Place, root: str, error: UnreadableFolderError) -> SourceItem:
    item_id = f"{_id_below(folder, root)}/"

    def fail() -> bytes:
        raise UnreadableFolderError(error.detail, item=item_id)

    return SourceItem(item_id, str(folder), fail)


def _id_below(file: Place, root: str) -> str:
    return encodable(file.path.removeprefix(root).lstrip("/"))


_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_MANIFEST = (".csv", ".tsv", *DATA_SUFFIXES)
# Files that may hold photographs or list them, and are not read.
_REMEDIES = {
    (
        ".zip",
        ".rar",
        ".7z",
        ".zst",
        ".gz",
        ".bz2",
        ".xz",
        ".iso",
    ): "unpack it and index the folder, or pack a .tar file",
    (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".txt", ".db", ".sqlite"): "save the list as .csv",
}


class SourceKind(Enum):
    """Kind of a source: a folder of this machine, a data set of the hub, or else by the suffix in any case."""

    FILES = auto()
    MANIFEST = auto()
    TAR = auto()

    @classmethod
    def of(cls, location: str) -> SourceKind:
        """Return the kind of a path or URL.

        Raises:
            SourceError: See Place.at; or its suffix is of an archive or a list that is not read.
        """
        if is_hub_name(location):
            return cls.MANIFEST
        if not has_protocol(location) and Place.at(location).is_folder():
            return cls.MANIFEST if is_data_folder(Path(Place.at(location).path)) else cls.FILES
        name = without_query(location).lower()
        if name.endswith(_TAR):
            return cls.TAR
        if name.endswith(_MANIFEST):
            return cls.MANIFEST
        remedy = next((remedy for suffixes, remedy in _REMEDIES.items() if name.endswith(suffixes)), None)
        if remedy is not None:
            raise SourceError(f"cannot be read as a source: {remedy}", item=location)
        return cls.FILES


def source_items(location: str, *, prefix: str = "", passed_over: Counter[str] | None = None) -> Iterator[SourceItem]:
    """Yield the images of a source, lazily; see docs/indexing.md.

    Args:
        location: A folder, a pattern, a file, a list or data set in CSV, Parquet or Arrow, or tar files; a path, a URL
            that fsspec supports, or `hf:NAME`.
        prefix: Prefix of all IDs, which distinguishes them from those of other sources.
        passed_over: Counter of files whose names are not those of images, by suffix.

    Raises:
        SourceError: It cannot be read.
        DatasetError: It is a data set of the hub that is not on this machine.
        MissingExtraError: It needs a package that is installed on demand.
    """
    kind = SourceKind.of(location)
    if kind is SourceKind.FILES:
        items = file_items(location, passed_over)
    else:
        items = tar_items(location) if kind is SourceKind.TAR else manifest_items(location)
    return (storable(below(prefix, item)) for item in items)


def is_cheap_to_list(location: str) -> bool:
    """Return whether the images of a source can be counted without a transfer of all of them."""
    kind = SourceKind.of(location)
    if has_protocol(location):
        return kind is SourceKind.MANIFEST and not without_query(location).lower().endswith(DATA_SUFFIXES)
    return kind is not SourceKind.TAR
