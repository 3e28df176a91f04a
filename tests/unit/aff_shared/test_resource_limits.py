"""Cores and memory are those of the control group, of both versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from aff_shared.resource_limits import usable_cores, usable_memory
from gallery_indexer.features import device
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings

MIB = 2**20
GIB = 2**30
V2, V1 = "0::/{0}\n", "4:memory:/{0}\n2:cpu,cpuacct:/{0}\n"
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores and 64 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)


def system(root: Path, groups: str, files: Mapping[str, str]) -> Path:
    for name, text in {
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{key}": f"{files[key]}\n" for key in files},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        pytest.param(V2, {"cpu.max": "200000 100000"}, 2, id="container"),
        pytest.param(V2, {"cpu.max": "150000 100000"}, 2, id="a part of a core counts as one"),
        pytest.param(V2, {"cpu.max": "5000 100000"}, 1, id="never none"),
        pytest.param(V2, {"cpu.max": "max 100000"}, 16, id="no quota"),
        pytest.param(V2, {"cpu.max": "6400000 100000"}, 16, id="more than there are"),
        pytest.param(V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3, id="group around"),
        pytest.param(V1, {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4, id="v1 container"),
        pytest.param(V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16, id="v1 no quota"),
        pytest.param(V1, {"cpu/a/b/cpu.cfs_quota_us": "50000", "cpu/a/b/cpu.cfs_period_us": "25000"}, 2, id="v1 own"),
        pytest.param(V2 + V1, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3, id="hybrid"),
        pytest.param("", {}, 16, id="no groups"),
    ],
)
def test_cores_follow_the_quota(tmp_path: Path, groups: str, files: dict[str, str], cores: int) -> None:
    assert usable_cores(system(tmp_path, groups.format("a/b"), files)) == cores


@pytest.mark.parametrize(
    ("groups", "files", "memory"),
    [
        pytest.param(V2, {"memory.max": str(GIB)}, GIB, id="container"),
        pytest.param(V2, {"memory.max": "max"}, 64 * GIB, id="no limit"),
        pytest.param(V2, {"a/memory.max": str(2 * GIB), "a/b/memory.max": "max"}, 2 * GIB, id="pod"),
        pytest.param(V1, {"memory/memory.limit_in_bytes": str(GIB)}, GIB, id="v1 container"),
        pytest.param(V1, {"memory/memory.limit_in_bytes": UNLIMITED_V1}, 64 * GIB, id="v1 no limit"),
        pytest.param("", {}, 64 * GIB, id="no groups"),
    ],
)
def test_memory_follows_the_limit(tmp_path: Path, groups: str, files: dict[str, str], memory: int) -> None:
    assert usable_memory(system(tmp_path, groups.format("a/b"), files)) == memory


def test_without_proc_it_is_the_machine(tmp_path: Path) -> None:
    assert (usable_cores(tmp_path), usable_memory(tmp_path)) == (16, 64 * GIB)


def test_threads_and_admission_of_the_services_follow_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (usable_cores, usable_memory):
        monkeypatch.setattr(function, "__defaults__", (tmp_path,))
    system(tmp_path, V2.format(""), {"cpu.max": "300000 100000", "memory.max": str(512 * MIB)})
    query, indexer = QuerySettings(), IndexerSettings()
    assert (query.search_threads, query.max_active_searches, query.max_waiting_searches) == (6, 12, 24)
    assert indexer.decode_workers == 3
    assert (query.max_queued_bytes, indexer.max_queued_bytes) == (64 * MIB, 64 * MIB)
    system(tmp_path, V2.format(""), {"cpu.max": "max 100000", "memory.max": str(8 * GIB)})
    assert (QuerySettings().max_queued_bytes, IndexerSettings().max_queued_bytes) == (128 * MIB, 512 * MIB)


def test_torch_uses_no_more_threads_than_the_quota_has_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(device.torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(device.torch, "set_num_threads", asked.append)
    monkeypatch.setattr(device, "usable_cores", lambda: 2)
    device.limit_threads()
    assert asked == [2]
