"""Lists of images with their payloads, and data sets: CSV, Parquet and Arrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin

from aff_shared.schemas.indexing import JsonObject
from aff_toolkit.data.dataset_rows import IMAGE
from aff_toolkit.data.folder import natural_key
from aff_toolkit.data.hub_datasets import data_files, is_hub_name, located_files
from aff_toolkit.data.text_table import PATH_COLUMNS, URL_COLUMN, find_column
from aff_toolkit.indexing.file_systems import Place, has_protocol
from aff_toolkit.indexing.manifest_tables import (
    PAYLOAD,
    ManifestRow,
    ManifestTable,
    arrow_table,
    csv_table,
    parquet_table,
)
from aff_toolkit.indexing.remote_files import is_web, without_query
from aff_toolkit.indexing.source_item import SourceError, SourceItem, id_of_path, reading, unusable

_SHOWN_CHARACTERS = 100


def manifest_items(location: str) -> Iterator[SourceItem]:
    """Yield the images that a CSV, Parquet or Arrow file lists, or holds, or those of a data set of several such files.

    Column `path` or `url` is the location of an image, relative to the list's directory; the optional column `id` is
    its ID, by default that location; `payload` is a JSON object, and every other column with a name goes into the
    payload. These names may be in any case. In Parquet and Arrow, a column may hold the image files themselves. Empty
    cells are left out.

    Args:
        location: A path, a URL, a pattern of Parquet or Arrow files, a folder of them, or `hf:NAME`: see located_files.

    Raises:
        SourceError: A file cannot be read, has no images, or none of the columns. A single unusable row
            fails alone.
        DatasetError: See located_files and data_files.
    """
    empty, held_ids = True, set[str]()
    for place, name in _tables(location):
        suffix = PurePosixPath(without_query(place.path)).suffix.lower()
        open_table = {".parquet": parquet_table, ".arrow": arrow_table}.get(suffix, csv_table)
        with reading(str(place)), open_table(place) as table:
            source = _Manifest(place, name, _Columns.of(table, str(place)), held_ids)
            for row in table.rows:
                empty = False
                yield from source.items(row)
    if empty:
        raise SourceError("lists no images: there is no row below the names of the columns", item=location)


def _tables(location: str) -> Iterator[tuple[Place, str]]:
    """Yield the files of a list or a data set, and their names below its folder."""
    if is_hub_name(location):
        yield from ((Place.at(str(file)), file.name) for file in located_files(location))
        return
    place = Place.at(location)
    if place.local and place.is_folder():
        folder = Path(place.path)
        yield from ((Place.at(str(file)), file.relative_to(folder).as_posix()) for file in data_files(folder))
    elif has_magic(without_query(location)) and not (place.local and place.exists()):
        root = f"{place.pattern().root.rstrip('/')}/"
        found = sorted(place.glob(), key=lambda file: natural_key(file.path))
        if not found:
            raise SourceError("no file has such a name", item=location)
        yield from ((file, file.path.removeprefix(root)) for file in found)
    else:
        yield place, place.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of the columns that are not payload.

    Attributes:
        places: Columns of locations: paths, then URLs.
        url: The one of URLs.
        image: The one of image files.
        images: All of image files.
    """

    id: str | None
    payload: str | None
    places: Sequence[str]
    url: str | None
    image: str | None
    images: Collection[str]

    @classmethod
    def of(cls, table: ManifestTable, location: str) -> _Columns:
        def named(*names: str) -> str | None:
            place = find_column(table.columns, *names)
            return None if place is None else table.columns[place]

        images = [name for name in table.images if name.casefold() == IMAGE] or table.images
        if len(images) > 1:
            detail = f"holds images in the columns {', '.join(images)}; name the one to index {IMAGE!r}"
            raise SourceError(detail, item=location)
        url = named(URL_COLUMN)
        places = [name for name in (named(*PATH_COLUMNS), url) if name and name not in table.images]
        if not places and not images:
            columns = ", ".join(name[:_SHOWN_CHARACTERS] for name in table.columns)
            detail = f"has neither of the columns path and url, but {columns}; name the one of the image files 'path'"
            raise SourceError(detail, item=location)
        return cls(named("id"), named(PAYLOAD), places, url, next(iter(images), None), table.images)

    def place_of(self, row: ManifestRow) -> str | None:
        """Return the column with the location of a row's image; None if all are empty."""
        return next((name for name in self.places if row.values.get(name)), None)

    def payload_of(self, row: ManifestRow) -> JsonObject:
        """Return a row's payload.

        Raises:
            SourceError: The column payload is not an object.
        """
        own = row.values.get(self.payload or "", {})
        if not isinstance(own, dict):
            raise SourceError(f"column {self.payload}: {own!r:.60} is not a JSON object")
        known = {self.id, self.payload, self.place_of(row), *self.images}
        return {**{name: value for name, value in row.values.items() if name not in known}, **own}


class _Manifest:
    """Converts rows of a list to items."""

    def __init__(self, place: Place, name: str, columns: _Columns, held_ids: set[str]) -> None:
        self._place = place
        self._name = name
        self._columns = columns
        self._held_ids = held_ids

    def items(self, row: ManifestRow) -> Iterator[SourceItem]:
        """Yield the images of a row: one, except where a list holds several in a row."""
        column = self._columns.place_of(row)
        where = self._with_slashes(str(row.values[column])) if column else ""
        held = _held_images(row.values.get(self._columns.image or "")) or [(None, None)]
        own_id = str(row.values.get(self._columns.id or "", ""))
        for number, (data, path) in enumerate(held, start=1):
            item_id = own_id or id_of_path(where)
            if data is not None and not item_id:
                item_id = f"{self._name}/{row.number}"
            if path and not own_id:
                item_id = id_of_path(path)
            elif len(held) > 1:
                item_id = f"{item_id}/{number}"
            yield self._item(row, item_id, data, path or where)

    def _item(self, row: ManifestRow, item_id: str, data: bytes | None, where: str) -> SourceItem:
        row_name = f"{self._place}, {row.name}"
        try:
            if row.problem:
                raise SourceError(row.problem)
            payload = self._columns.payload_of(row)
            if data is not None:
                self._require_new(item_id)
                return SourceItem(item_id, row_name, lambda: data, payload)
            if not where:
                columns = [*self._columns.places, *self._columns.images]
                raise SourceError(f"column {' or '.join(columns)} is empty")
            place = self._found(where, is_url=self._columns.place_of(row) == self._columns.url)
        except SourceError as error:
            return unusable(item_id or row_name, row_name, f"{row.name}: {error.detail}")
        return SourceItem(item_id, str(place), place.read, payload)

    def _require_new(self, item_id: str) -> None:
        """Reject the ID of an earlier row: writers of Parquet often use the same name for all images."""
        if item_id in self._held_ids:
            raise SourceError(f"an earlier row has the same id {item_id!r}; add a column id to the list")
        self._held_ids.add(item_id)

    def _found(self, where: str, *, is_url: bool) -> Place:
        if has_protocol(where):
            return Place.at(where)
        if is_url and is_web(self._place.path):
            return Place.at(urljoin(self._place.path, where))
        return self._place.beside(where)

    def _with_slashes(self, path: str) -> str:
        """Return a path that Windows wrote with slashes; other systems take backslashes for a part of the name."""
        if "\\" not in path or has_protocol(path) or (self._place.local and self._place.beside(path).exists()):
            return path
        return path.replace("\\", "/")


def _held_images(value: Any) -> list[tuple[bytes | None, str | None]]:
    """Return the bytes and paths of the images of a cell; one of the two may be missing."""
    if isinstance(value, bytes):
        return [(value, None)]
    if isinstance(value, dict):
        return [(value["bytes"], value["path"])] if value["bytes"] is not None or value["path"] else []
    return [image for one in value or () for image in _held_images(one)]
