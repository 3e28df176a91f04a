"""Folders, patterns and single files."""

from __future__ import annotations

from collections.abc import Iterator
from glob import has_magic

from aff_toolkit.indexing.file_systems import Place
from aff_toolkit.indexing.source_item import SourceError, SourceItem
from aff_toolkit.photograph_files import IMAGE_SUFFIXES, encodable, is_image_name


def file_items(location: str) -> Iterator[SourceItem]:
    """Give the images below a folder, those that a pattern such as `photos/**/*.jpg` matches, or one file.

    An item's id is its path within the folder, or within the part of the pattern before its first wildcard; so a second
    run finds the same ids. Its payload says where the file lies.

    Args:
        location: A path, or a URL of a file system that fsspec knows.

    Raises:
        SourceError: There is nothing, or no image file.
    """
    place = Place.at(location)
    if has_magic(location):
        found, root = place.glob(), _fixed_part(place.path)
    elif place.is_folder():
        found, root = place.files_below(), place.path
    elif place.exists():
        found, root = iter([place]), place.path.rpartition("/")[0]
    else:
        raise SourceError("there is no such folder or file", item=location)
    empty = True
    for file in found:
        if is_image_name(file.path) or file.path == place.path:
            empty = False
            yield _item(file, root)
    if empty:
        raise SourceError(f"holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})", item=location)


def _item(file: Place, root: str) -> SourceItem:
    location = encodable(str(file))
    return SourceItem(encodable(file.path.removeprefix(root).lstrip("/")), location, file.read)


def _fixed_part(pattern: str) -> str:
    fixed = []
    for part in pattern.split("/"):
        if has_magic(part):
            break
        fixed.append(part)
    return "/".join(fixed)
