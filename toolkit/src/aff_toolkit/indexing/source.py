"""Sources of images, distinguished by their form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import Enum, auto

from aff_toolkit.indexing.file_systems import Place, has_protocol
from aff_toolkit.indexing.files_source import file_items
from aff_toolkit.indexing.manifest_source import manifest_items
from aff_toolkit.indexing.remote_files import without_query
from aff_toolkit.indexing.source_item import SourceError, SourceItem, below, storable
from aff_toolkit.indexing.tar_source import tar_items

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_PARQUET = ".parquet"
_MANIFEST = (".csv", ".tsv", _PARQUET)
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
    """Kind of a source: a folder of this machine, or else by the suffix in any case."""

    FILES = auto()
    MANIFEST = auto()
    TAR = auto()

    @classmethod
    def of(cls, location: str) -> SourceKind:
        """Return the kind of a path or URL.

        Raises:
            SourceError: See Place.at; or its suffix is of an archive or a list that is not read.
        """
        if not has_protocol(location) and Place.at(location).is_folder():
            return cls.FILES
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
        location: A folder, a pattern, a file, a CSV or Parquet list, or tar files; a path, or a URL that fsspec
            supports.
        prefix: Prefix of all IDs, which distinguishes them from those of other sources.
        passed_over: Counter of files whose names are not those of images, by suffix.

    Raises:
        SourceError: It cannot be read.
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
        return kind is SourceKind.MANIFEST and not without_query(location).lower().endswith(_PARQUET)
    return kind is not SourceKind.TAR
