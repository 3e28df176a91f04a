from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aff_shared.errors import MissingExtraError
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.ray_engine import error_of_ours, index_with_ray
from aff_toolkit.indexing.source_item import SourceError


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


def test_an_error_of_ours_is_found_within_those_of_the_tasks() -> None:
    ours = SourceError("the shard ends here", item="shard.tar")
    task, job = RuntimeError("task"), RuntimeError("job")
    task.cause = ours  # type: ignore[attr-defined] # as Ray's own errors have it
    job.__cause__ = task
    assert error_of_ours(job) is ours
    assert error_of_ours(RuntimeError("of nobody")) is None
