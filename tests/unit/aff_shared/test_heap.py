"""The heap is bounded where services and their processes start; seen in processes of its own, for it stays so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aff_shared.heap import HEAP_VARIABLES
from aff_shared.web import serving
from aff_shared.web.listen_settings import ListenSettings
from aff_toolkit.cli import serve as serve_command

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


_BOUND = "from aff_shared.heap import bound_heap; bound_heap()"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_threads_of_a_bounded_process_share_two_heaps_and_its_children_are_bounded_too() -> None:
    unbounded, nothing = _heaps_and_environment_of_child("")
    bounded, inherited = _heaps_and_environment_of_child(_BOUND)
    assert unbounded > 2 >= bounded
    assert nothing == {}
    assert inherited == {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_the_environment_says_stays() -> None:
    heaps, inherited = _heaps_and_environment_of_child(_BOUND, MALLOC_ARENA_MAX="1")
    assert (heaps, inherited["MALLOC_ARENA_MAX"]) == (1, "1")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_says_the_same(dockerfile: Path) -> None:
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
