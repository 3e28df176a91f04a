"""Tells by its form what a source is."""

from __future__ import annotations

from collections.abc import Iterator

from aff_toolkit.indexing.files_source import file_items
from aff_toolkit.indexing.manifest_source import manifest_items
from aff_toolkit.indexing.source_item import SourceItem, storable
from aff_toolkit.indexing.tar_source import tar_items

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MANIFEST = (".csv", ".parquet")


def source_items(location: str) -> Iterator[SourceItem]:
    """Give the images of a source, lazily; see docs/indexing.md.

    Args:
        location: A folder, a pattern, a file, a CSV or Parquet list, tar files; a path or a URL that fsspec knows.

    Raises:
        SourceError: It cannot be read.
        MissingExtraError: It needs a package that is installed on demand.
    """
    items = file_items
    if location.endswith(_TAR):
        items = tar_items
    elif location.endswith(_MANIFEST):
        items = manifest_items
    return map(storable, items(location))
