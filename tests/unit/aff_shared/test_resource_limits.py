"""Cores and memory are those of the control group, of both versions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aff_shared.resource_limits import HEAP_VARIABLES, usable_cores, usable_memory
from aff_shared.web import serving
from aff_shared.web.settings import ListenSettings
from aff_toolkit.cli import serve as serve_command
from gallery_indexer.features.networks import layers
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
    requested: list[int] = []
    monkeypatch.setattr(layers.torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(layers.torch, "set_num_threads", requested.append)
    monkeypatch.setattr(layers, "usable_cores", lambda: 2)
    layers.limit_threads()
    assert requested == [2]


ROOT = Path(__file__).parents[3]
DOCKERFILES = [ROOT / place / "Dockerfile" for place in ("services/gallery_indexer", "services/query_api", "toolkit")]

# Threads that allocate at the same time get a heap each, as far as there are.
_HEAPS_AND_CHILD = """
import ctypes, json, subprocess, sys, tempfile, threading
{bound}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fflush.argtypes = [ctypes.c_void_p]
together = threading.Barrier(8)
def work():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.TemporaryFile() as file:
    stream = libc.fdopen(file.fileno(), b"w")
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    heaps = file.read().count(b"<heap nr=")
child = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
print(json.dumps([heaps, json.loads(subprocess.check_output(child))]))
"""


def _heaps_and_environment_of_child(bound: str, **environment: str) -> tuple[int, dict[str, str]]:
    clean = {name: value for name, value in os.environ.items() if name not in HEAP_VARIABLES}
    program = _HEAPS_AND_CHILD.format(bound=bound)
    answer = subprocess.check_output([sys.executable, "-c", program], env={**clean, **environment})
    heaps, seen = json.loads(answer)
    return heaps, {name: seen[name] for name in HEAP_VARIABLES if name in seen}


_BOUND = "from aff_shared.resource_limits import bound_heap; bound_heap()"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_threads_of_a_bounded_process_share_two_heaps_and_its_children_are_bounded_too() -> None:
    unbounded, nothing = _heaps_and_environment_of_child("")
    bounded, inherited = _heaps_and_environment_of_child(_BOUND)
    assert unbounded > 2 >= bounded
    assert nothing == {}
    assert inherited == {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "8388608",
        "MALLOC_MMAP_THRESHOLD_": "4194304",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_the_environment_takes_precedence() -> None:
    heaps, inherited = _heaps_and_environment_of_child(_BOUND, MALLOC_ARENA_MAX="1")
    assert (heaps, inherited["MALLOC_ARENA_MAX"]) == (1, "1")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_of_a_json_request_has_the_same_rules(dockerfile: Path) -> None:
    for name, value in HEAP_VARIABLES.items():
        assert re.search(rf"^(ENV| ) .*\b{name}={value}\b", dockerfile.read_text(), re.M), name


def test_a_service_bounds_its_heap_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(serving, "bound_heap", lambda: done.append("bounded"))

    class Unusable(ListenSettings):
        port: int = 0

        def __init__(self) -> None:
            done.append("made")
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        serving.run_service(Unusable, lambda _: pytest.fail("made"))
    assert done == ["bounded", "made"]


def test_aff_serve_bounds_its_heap_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def bounded() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "bound_heap", bounded)
    with pytest.raises(KeyboardInterrupt):
        serve_command.serve()
