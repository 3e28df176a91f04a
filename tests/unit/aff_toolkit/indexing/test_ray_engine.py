from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from aff_shared.bundles.bundle import load_manifest
from aff_shared.errors import MissingExtraError
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.ray_engine import error_of_ours, index_with_ray
from aff_toolkit.indexing.source_item import SourceError
from gallery_indexer.settings import IndexerSettings
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TINY_BUNDLE


def test_without_ray_the_command_that_installs_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with IndexingRecord() as record, pytest.raises(MissingExtraError, match=r"aff-toolkit\[ray\]"):
        index_with_ray("photos", Path("bundle"), record, lambda _: None, encoders=1, gpus_per_encoder=0.0)


def test_what_is_passed_over_is_counted_once_however_many_tasks_list_a_folder(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from aff_toolkit.indexing.ray_stages import ListPart, read_listed  # noqa: PLC0415 - needs pyarrow

    for name in ("a.jpg", "b.jpg", "c.jpg", "notes.txt", "more.txt", "IMG_1.CR2"):
        (tmp_path / name).write_bytes(b"bytes")
    for read in (True, False):
        lister = ListPart(str(tmp_path), parts=2, read=read)
        tables = [read_listed(table) for part in (0, 1) for table in lister(pa.table({"id": [part]}))]
        rows = [row for table in tables for row in table.to_pylist()]
        assert sorted(row["id"] for row in rows if row["data"]) == ["a.jpg", "b.jpg", "c.jpg"]
        (row,) = (row for row in rows if row["status"])
        assert (row["status"], json.loads(row["payload"])) == ("passed_over", {".txt": 2, ".cr2": 1})


def test_details_are_added_to_payloads_and_edited_keys_are_kept(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from aff_toolkit.indexing.ray_stages import ListPart, Prepare  # noqa: PLC0415 - needs pyarrow

    for name in ("new.png", "edited.png"):
        (tmp_path / name).write_bytes(plain_png((1, 2, 3)))
    digest = hashlib.sha256(plain_png((1, 2, 3))).hexdigest()
    record = GalleryRecord("edited.png", digest, 32, 24, datetime.now(UTC), {"city": "Paris"}, ())
    stored = GalleryPoint(record, np.zeros(1, dtype=np.float32))

    class Store:
        def fetch(self, _: object) -> dict[str, GalleryPoint]:
            return {"edited.png": stored}

    (table,) = ListPart(str(tmp_path), parts=1, read=True)(pa.table({"id": [0]}))
    settings, manifest = IndexerSettings(), load_manifest(TINY_BUNDLE)
    for details, expected in ((False, {}), (True, {"file_name": "new.png"})):
        prepare = Prepare(manifest, settings, Store, details=details)  # type: ignore[arg-type]
        payloads = {row["id"]: json.loads(row["payload"]) for row in prepare(table).to_pylist()}
        edited = {"city": "Paris", **({"file_name": "edited.png"} if details else {})}
        assert payloads == {"new.png": expected, "edited.png": edited}


def test_an_error_of_ours_is_found_within_those_of_the_tasks() -> None:
    ours = SourceError("the shard ends here", item="shard.tar")
    task, job = RuntimeError("task"), RuntimeError("job")
    task.cause = ours  # type: ignore[attr-defined] # as Ray's own errors have it
    job.__cause__ = task
    assert error_of_ours(job) is ours
    assert error_of_ours(RuntimeError("of nobody")) is None
