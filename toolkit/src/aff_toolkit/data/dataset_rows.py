"""Rows of data sets in Parquet and Arrow files, one column of which holds images."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from aff_toolkit.data.photograph import (
    Photograph,
    PhotographUnreadableError,
    load_below,
    max_image_bytes,
    too_many_bytes,
)
from aff_toolkit.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGE = "image"
_IMAGE_FIELDS = {"bytes", "path"}  # of the hub's type Image
_INSTANCES = ("instance", "label")
_NO_LABEL = (None, "", -1)  # the last one is the hub's in a column of the type ClassLabel
_ARROW_FILE = b"ARROW1"  # other Arrow files are streams, as `datasets` writes them
# Row groups in memory, of all files together: photographs are read in order, by two threads.
_PARTS_KEPT = 2


class DataFile:
    """A Parquet or Arrow file whose images are read one by one; an Arrow file is memory-mapped.

    Attributes:
        path: The file.
        name: Its name in messages.
        schema: Its Arrow schema.
        rows: Number of rows.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open a file.

        Raises:
            DatasetError: It cannot be read.
        """
        self.path = path
        self.name = name
        self._lock = Lock()
        try:
            self.schema, counts = self._open()
        except Exception as error:  # of pyarrow, of any type
            raise DatasetError(f"cannot be read: {error}", item=str(path)) from error
        self._ends = list(accumulate(counts))
        self.rows = self._ends[-1] if counts else 0

    def _open(self) -> tuple[Any, list[int]]:
        """Open the file; return its schema, and the number of rows of each part."""
        self._table: Any = None
        if self.path.suffix.lower() == ".parquet":
            parquet = import_module("pyarrow.parquet")  # takes 0.2 s
            self._table = parquet.ParquetFile(self.path, pre_buffer=False)  # buffers keep the last row group
            groups = self._table.metadata
            return self._table.schema_arrow, [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        schema, batches = arrow_batches(import_module("pyarrow").memory_map(str(self.path)))
        self._batches = list(batches)
        return schema, [batch.num_rows for batch in self._batches]

    def part(self, part: int, column: str) -> Any:
        """Return a column of a row group, or of a record batch."""
        if self._table is None:
            return self._batches[part].column(column)
        return self._table.read_row_group(part, columns=[column]).column(column)

    def column(self, name: str) -> list[Any]:
        """Return the values of a column without images."""
        return [value for part in range(len(self._ends)) for value in self.part(part, name).to_pylist()]

    def value(self, row: int, column: str) -> Any:
        """Return a value; the row groups of the last ones are kept. Can be called by several threads."""
        part = bisect_right(self._ends, row)
        first = self._ends[part - 1] if part else 0
        with self._lock:
            return _kept_part(self, part, column)[row - first].as_py()

    def image_column(self, chosen: str | None) -> str:
        """Return the column of the images.

        Args:
            chosen: Its name; None for the only one, or the one called `image`.

        Raises:
            DatasetError: There is no such column, there are several, or it has several images per row.
        """
        found = image_columns(self.schema)
        if chosen is None:
            found = [name for name in found if name.casefold() == IMAGE] or found
        else:
            found = [one.name for one in self.schema if one.name == chosen and _holds_images(IMAGE, one.type)]
        if len(found) != 1:
            named = f"column {chosen} with images" if chosen else "single column with images"
            columns = ", ".join(found or self.schema.names) + ("; choose one by `image` in a recipe" if found else "")
            raise DatasetError(f"has no {named}: {columns}", item=str(self.path))
        if _is_list(self.schema.field(found[0]).type):
            raise DatasetError(f"column {found[0]} has several images per row: use one", item=str(self.path))
        return found[0]

    def instance_column(self, chosen: str | None) -> str | None:
        """Return the column of the instances.

        Args:
            chosen: Its name; None for `instance`, `label`, or the only one of the hub's type ClassLabel.

        Raises:
            DatasetError: There is no column of the chosen name.
        """
        names = self.schema.names
        if chosen is not None and chosen not in names:
            raise DatasetError(f"has no column {chosen}: {', '.join(names)}", item=str(self.path))
        classes = list(class_names(self.schema))
        known = [name for wanted in _INSTANCES for name in names if name.casefold() == wanted]
        nested: Any = import_module("pyarrow.types").is_nested
        if chosen is not None and nested(self.schema.field(chosen).type):
            raise DatasetError(f"column {chosen} has several values per row", item=str(self.path))
        guesses = [chosen, *known, *(classes if len(classes) == 1 else ())]
        return next((name for name in guesses if name in names and not nested(self.schema.field(name).type)), None)


_kept_part = lru_cache(_PARTS_KEPT)(DataFile.part)


def dataset_photographs(
    files: Sequence[DataFile], *, image: str | None, instance: str | None, min_side: int | None
) -> list[Photograph]:
    """Return the photographs of a data set, in the order of its rows; images are read when they are loaded.

    A photograph's name is `FILE/ROW`, with rows from 1. Without a column of instances, each one is a separate instance.
    A row without an instance is a photograph that cannot be loaded.

    Args:
        files: The files of the data set.
        image: Column of the images: see DataFile.image_column.
        instance: Column of the instances: see DataFile.instance_column.
        min_side: See load_photograph_file.

    Raises:
        DatasetError: A column is missing, or some of the files have no column of instances.
    """
    labels = [file.instance_column(instance) for file in files]
    if None in labels and any(labels):
        without = str(files[labels.index(None)].path)
        raise DatasetError("has no column of instances, and other files have one", item=without)
    return [photograph for file in files for photograph in _photographs(file, image, instance, min_side)]


def _photographs(file: DataFile, image: str | None, instance: str | None, min_side: int | None) -> Iterator[Photograph]:
    image, instance = file.image_column(image), file.instance_column(instance)
    values = [None] * file.rows if instance is None else file.column(instance)
    names = class_names(file.schema).get(instance or "")
    shared: dict[str, str] = {}  # rows of one instance share one string
    for row, value in enumerate(values):
        name = f"{file.name}/{row + 1}"
        label = class_name(value, names) if names else value
        if instance is not None and (label is None or label == "" or label != label):  # noqa: PLR0124 - NaN
            fault = "is empty" if value in _NO_LABEL else f"has no class {value}"
            yield Photograph(name, name, partial(_fail, name, f"column {instance} {fault}"))
            continue
        text = name if instance is None else shared.setdefault(str(label), str(label))
        yield Photograph(name, text, partial(_load, file, row, image, name, min_side))


def _fail(name: str, problem: str) -> NDArray[np.uint8]:
    raise PhotographUnreadableError(problem, item=name)


def _load(file: DataFile, row: int, image: str, name: str, min_side: int | None) -> NDArray[np.uint8]:
    from aff_shared.images.decoding import ImageLimits, decode_image  # noqa: PLC0415 - imports numpy and Pillow

    try:
        value = file.value(row, image)
    except Exception as error:  # of pyarrow, of any type: a damaged row group
        raise PhotographUnreadableError(f"cannot be read: {error}", item=name) from error
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if data is None and path:
        return load_below(str(file.path.parent), path, min_side)
    if not isinstance(data, bytes):
        raise PhotographUnreadableError(f"column {image} is empty", item=name)
    if len(data) > max_image_bytes():
        raise too_many_bytes(name, len(data))
    return decode_image(data, ImageLimits(), min_side=min_side, name=name).pixels


def arrow_batches(source: Any) -> tuple[Any, Iterator[Any]]:
    """Return schema and record batches of an Arrow file: a stream, as `datasets` writes it, or of the file format.

    Args:
        source: An open file, of Python or of pyarrow; from a memory-mapped one, batches are not copied.

    Raises:
        Exception: Any exception of the file system or of pyarrow.
    """
    pa: Any = import_module("pyarrow")
    start = source.read(len(_ARROW_FILE))
    source.seek(0)
    if start == _ARROW_FILE:
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)


def image_columns(schema: Any) -> list[str]:
    """Return the names of the columns of an Arrow schema that hold image files.

    Their values are the files, or how the hub writes one or several: `{"bytes": ..., "path": ...}`.
    """
    return [column.name for column in schema if _holds_images(column.name, column.type)]


def _holds_images(name: str, kind: Any) -> bool:
    types: Any = import_module("pyarrow.types")
    if _is_list(kind):
        return _holds_images(name, kind.value_type)
    if types.is_struct(kind):
        return {kind.field(place).name for place in range(kind.num_fields)} >= _IMAGE_FIELDS
    return name.casefold() == IMAGE and (types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    types: Any = import_module("pyarrow.types")
    return bool(types.is_list(kind) or types.is_large_list(kind))


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the classes of each column of the hub's type ClassLabel, whose values are numbers."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        kinds = [(name, kind) for name, kind in features.items() if isinstance(kind, dict)]  # others are lists
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}
    return {name: kind["names"] for name, kind in kinds if kind.get("_type") == "ClassLabel" and "names" in kind}


def class_name(value: Any, names: Sequence[str]) -> str | None:
    """Return the name of a class, of its number or of itself; None for no class, and for an unknown one."""
    if isinstance(value, str):
        return value if value in names else None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
