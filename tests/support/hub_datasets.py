"""Data sets as the Hugging Face hub and its package `datasets` write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc, parquet

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
CLASSES = ["cat", "dog"]
_FEATURES = {"image": {"_type": "Image"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}


def images_table(images: Sequence[bytes | None], labels: Sequence[int | None]) -> pa.Table:
    """A table with the columns image and label, of the types Image and ClassLabel."""
    cells = [None if data is None else {"bytes": data, "path": None} for data in images]
    columns: dict[str, Any] = {"image": pa.array(cells, IMAGE), "label": pa.array(labels, pa.int64())}
    metadata = {"huggingface": json.dumps({"info": {"features": _FEATURES}})}
    return pa.table(columns).replace_schema_metadata(metadata)


def write_dataset_file(path: Path, table: pa.Table, *, rows_together: int = 1000) -> Path:
    """Write a Parquet file with row groups, or an Arrow stream with batches, of some rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=rows_together)
    else:
        with ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table, max_chunksize=rows_together)
    return path
