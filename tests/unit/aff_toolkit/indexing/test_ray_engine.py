from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aff_contracts.errors import MissingExtraError
from aff_toolkit.indexing.indexing_summary import IndexingRecord
from aff_toolkit.indexing.ray_engine import error_of_ours, index_with_ray
from aff_toolkit.indexing.source_item import SourceError


def test_without_ray_the_command_that_brings_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with IndexingRecord() as record, pytest.raises(MissingExtraError, match=r"aff-toolkit\[ray\]"):
        index_with_ray("photos", Path("bundle"), record, lambda _: None, encoders=1, gpus_per_encoder=0.0)


def test_an_error_of_ours_is_found_within_those_of_the_tasks() -> None:
    ours = SourceError("the shard ends here", item="shard.tar")
    task, job = RuntimeError("task"), RuntimeError("job")
    task.cause = ours  # type: ignore[attr-defined] # as Ray's own errors have it
    job.__cause__ = task
    assert error_of_ours(job) is ours
    assert error_of_ours(RuntimeError("of nobody")) is None
