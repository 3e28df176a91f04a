"""The stages of a Ray job: functions from tables to tables of rows, in which a row with a `status` is finished."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.errors import AffError
from aff_shared.images.details import photograph_details
from aff_shared.schemas.indexing import IndexItem
from aff_shared.schemas.problem import problem_of
from aff_shared.store.gallery_store import GalleryPoint
from aff_toolkit.indexing.file_systems import Place
from aff_toolkit.indexing.ray_store import StageStore
from aff_toolkit.indexing.source_item import SourceError, SourceItem
from aff_toolkit.indexing.sources import source_items
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput
from gallery_indexer.indexing.batches import BatchEncoder, require_usable
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask, UploadedImage
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation, ThumbnailMaker
from gallery_indexer.settings import IndexerSettings

_READ_AT_A_TIME = 32
_PASSED_OVER = "passed_over"  # status of the row whose payload counts the files that are not named like images

pa: Any = import_module("pyarrow")  # has no types
Row = dict[str, Any]
Table = Any  # of pyarrow

_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "location", "payload", "sha256", "status", "code", "detail")),
        *((name, pa.binary()) for name in ("data", "thumbnail")),
        *((name, pa.int32()) for name in ("width", "height")),
        ("pixels", pa.list_(pa.binary())),
        ("shapes", pa.list_(pa.list_(pa.int32()))),
        ("embedding", pa.list_(pa.float32())),
        ("extractors", pa.list_(pa.string())),
    ]
)


def _table(rows: Sequence[Row]) -> Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in _COLUMNS.names} for row in rows], schema=_COLUMNS)


def _failed(row: Row, error: AffError) -> Row:
    problem = problem_of(error)
    kept = {name: row[name] for name in ("id", "location", "payload")}
    return {**kept, "status": "rejected", "code": problem.code, "detail": problem.detail}


@dataclass(frozen=True)
class ListPart:
    """Lists every n-th image of a source: a task for each of its `parts`.

    Attributes:
        source: As for `source_items`.
        parts: Number of parts.
        read: Whether the images are read here; otherwise `read_listed` reads them in other tasks.
        prefix: As for `source_items`.
    """

    source: str
    parts: int
    read: bool
    prefix: str = ""

    def __call__(self, part: Table) -> Iterator[Table]:
        """Yield the images of a part, given its number; the first part also yields the counts of skipped files."""
        for number in part["id"].to_pylist():
            passed_over: Counter[str] = Counter()
            every = source_items(self.source, prefix=self.prefix, passed_over=passed_over)
            items = islice(every, number, None, self.parts)
            while batch := list(islice(items, _READ_AT_A_TIME)):
                yield _table([_read(item) if self.read else _listed(item) for item in batch])
            if passed_over and number == 0:
                counts = json.dumps(passed_over)
                yield _table([{"id": "", "location": self.source, "payload": counts, "status": _PASSED_OVER}])


def read_listed(table: Table) -> Table:
    """Read the images of a remote source, whose listing contains only locations."""
    rows = []
    for row in table.to_pylist():
        if row["status"]:
            rows.append(row)
            continue
        item = SourceItem(row["id"], row["location"], partial(lambda place: Place.at(place).read(), row["location"]))
        rows.append(_read(item) | {"payload": row["payload"]})
    return _table(rows)


def _listed(item: SourceItem) -> Row:
    return {"id": item.id, "location": item.location, "payload": json.dumps(item.payload)}


def _read(item: SourceItem) -> Row:
    row = _listed(item)
    try:
        return {**row, "data": item.read()}
    except AffError as error:
        return _failed(row, error)
    except Exception as error:  # noqa: BLE001 - drivers raise exceptions of any type
        return _failed(row, SourceError(f"cannot be read: {error}", item=item.id))


@dataclass
class Prepare:
    """Identifies images, skips those that the gallery has, decodes them, and resizes them to the input sizes.

    Attributes:
        manifest: Manifest of the bundle.
        settings: Settings of the indexer.
        open_store: Function that opens the collection, called once per process.
        details: Whether to add details of the photographs to their payloads; see photograph_details.
        location: Whether the position is one of the details.
    """

    manifest: BundleManifest
    settings: IndexerSettings
    open_store: Callable[[], StageStore]
    details: bool = False
    location: bool = True
    _store: StageStore | None = field(default=None, init=False)

    def __call__(self, table: Table) -> Table:
        """Add pixels or a status to each row."""
        self._store = self._store or self.open_store()
        rows = table.to_pylist()
        stored = self._store.fetch([row["id"] for row in rows if not row["status"]])
        return _table([row if row["status"] else self._prepared(row, stored.get(row["id"])) for row in rows])

    def _prepared(self, row: Row, stored: Any) -> Row:
        item = IndexItem(id=row["id"], payload=json.loads(row["payload"]) or None)
        details = photograph_details(row["data"], row["id"], location=self.location) if self.details else {}
        limits = PayloadLimits(self.settings.max_payload_bytes, self.settings.store.payload_schema)
        try:
            task = IndexTask.of(0, UploadedImage(row["data"], row["location"], item, details=details), limits)
            task.stored = stored
            prepared: Row = {**row, "id": task.item_id, "data": None, "sha256": task.content_sha256}
            prepared["payload"] = json.dumps(task.payload)
            if not task.needs_embedding:
                return prepared
            photograph = self._prepare(task.data, task.label)
        except AffError as error:
            return _failed(row, error)
        return prepared | {
            "thumbnail": photograph.thumbnail,
            "width": photograph.width,
            "height": photograph.height,
            "pixels": [one.tobytes() for one in photograph.pixels],
            "shapes": [list(one.shape) for one in photograph.pixels],
        }

    @cached_property
    def _prepare(self) -> PhotographPreparation:
        return PhotographPreparation(
            self.settings.image_limits,
            tuple(extractor.preprocessing for extractor in self.manifest.extractors),
            ThumbnailMaker.of(self.settings.thumbnail_side, self.settings.thumbnail_quality),
        )


class Embed:
    """Actor with extractors and mixer, on a GPU if available; every node of the cluster can read the bundle."""

    def __init__(self, bundle: Path, manifest: BundleManifest, settings: IndexerSettings) -> None:
        encoder = GalleryEncoder.load(bundle, manifest, device=settings.device)
        self._encoder = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=settings.batch_size)

    def __call__(self, table: Table) -> Table:
        """Add an embedding or a status to each row with pixels."""
        rows = table.to_pylist()
        places = [place for place, row in enumerate(rows) if row["pixels"]]
        encoded = self._encoder.encode([_pixels(rows[place]) for place in places])
        for place, one in zip(places, encoded, strict=True):
            rows[place] = _with_embedding(rows[place], one)
        return _table(rows)


def _pixels(row: Row) -> EncoderInput:
    return tuple(
        np.frombuffer(data, dtype=np.uint8).reshape(shape)
        for data, shape in zip(row["pixels"], row["shapes"], strict=True)
    )


def _with_embedding(row: Row, encoded: EncodedImage | None) -> Row:
    try:
        image = require_usable(encoded, label=row["id"])
    except AffError as error:
        return _failed(row, error)
    return {**row, "pixels": None, "embedding": image.embedding.tolist(), "extractors": list(image.extractors)}


@dataclass
class Write:
    """Writes new and changed images, and sets the status of each row.

    Attributes:
        open_store: Function that opens the collection, called once per process.
    """

    open_store: Callable[[], StageStore]
    _store: StageStore | None = field(default=None, init=False)

    def __call__(self, table: Table) -> Table:
        """Write the points of the rows together."""
        self._store = self._store or self.open_store()
        rows = table.to_pylist()
        going = [row for row in rows if not row["status"]]
        stored = self._store.fetch([row["id"] for row in going])
        points = []
        for row in going:
            task = _task(row, stored.get(row["id"]))
            point = None
            if row["embedding"] is not None:
                encoded = EncodedImage(np.asarray(row["embedding"], dtype=np.float32), tuple(row["extractors"]))
                point = task.point(encoded, row["width"], row["height"], row["thumbnail"])
                points.append(point)
            elif task.needs_payload:
                self._store.set_payload(row["id"], task.payload)
            (receipt,) = task.receipts(point)
            row.update(status=receipt.status, embedding=None)
        if points:
            self._store.upsert(points)
        return _table(rows)


def _task(row: Row, stored: GalleryPoint | None) -> IndexTask:
    image = UploadedImage(None, row["location"], IndexItem(id=row["id"], payload=json.loads(row["payload"])))
    return IndexTask(row["id"], row["sha256"], b"", [(0, image)], stored)
