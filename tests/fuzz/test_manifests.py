"""The rows of a damaged list are read or fail alone, or the list is rejected with one of our errors."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from pyarrow import parquet

from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.sources import source_items
from tests.fuzz.cases import run_cases
from tests.fuzz.mutations import mutated

CSV = (
    b"id,path,city,year:int,height:float,open:bool,tags:json,payload\n"
    b'one,p/1.jpg,Paris,1889,300.5,true,"[""a"", 1]","{""a"": [1]}"\n,p/2.jpg,,,,,,\n'
    b'"two, quoted",/p/3.jpg,"Pi\nsa",1372,nan,0,null,{}\n',
    "\ufeffurl,name\nmemory://bucket/a.jpg,Köln\nfile:///p/b.jpg,\n".encode(),
    b"path;city\r\na.jpg;Rome\r\n",
    "sep=|\nSourceFile|EXIF:Make\n./a.jpg|NIKON\nsub\\b.jpg|x|y\n".encode("utf-16"),
    'id\tpath , city\n1\t"a.jpg" , Köln\n2\t"b.jpg\n'.encode("cp1252"),
)
CSV_WORDS = (
    b",", b'"', b'""', b"\n", b"\r", b"\0", b":int", b":json", b":", b"://", b"memory://", b"\xff", b"1e999", b"NaN",
    b"-Infinity", b"9" * 5000, b"[" * 5000, b'{"a":' * 2000, b"\\ud800", b'"\\ud800"', b"\xed\xa0\x80",
)  # fmt: skip
TAR_WORDS = (b"\0", b".json", b".jpg", b"ustar", b"L", b"x", b"K", b"g", b"77777777777", b"-1", b"{", b"NaN")


def _parquet(**columns: object) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


IMAGES = pa.array(
    [[{"bytes": b"one", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}], None],
    pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()})),
)


def _tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in {
            "a/1.jpg": b"one",
            "a/1.json": b'{"a": [1, null]}',
            "a.b.json": b"{}",
            "2.png": b"two",
            "a.txt": b"",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


PARQUET = (
    _parquet(path=["1.jpg", "2.jpg"], year=[1889, None], payload=['{"a": 1}', None]),
    _parquet(url=["memory://b/1.jpg"], tags=[["a", "b"]], at=[{"lat": 1.5, "lon": float("nan")}], raw=[b"\xff"]),
    _parquet(image=IMAGES, label=[3, None]),
    _parquet(path=["1.jpg"], id=[7], seen=[datetime(2024, 5, 1, tzinfo=UTC)], open=[True]),
)


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("list.csv", CSV, CSV_WORDS),
        ("list.parquet", PARQUET, (b"PAR1", b"\x15", b"\xff\xff\xff\x7f", b"UTF8")),
        ("shard.tar", tuple(map(_tar, ("w", "w:gz", "w:bz2", "w:xz"))), TAR_WORDS),
    ],
    ids=["csv", "parquet", "tar"],
)
def test_a_damaged_list_is_read_or_rejected(
    tmp_path: Path, name: str, files: tuple[bytes, ...], words: tuple[bytes, ...]
) -> None:
    path = tmp_path / name
    run_cases(f"lists {name}", 0.15 / 3, _reader(path, files, words))


def _reader(path: Path, files: tuple[bytes, ...], words: tuple[bytes, ...]) -> Callable[[Random], str]:
    def case(rng: Random) -> str:
        data = rng.choice(files)
        path.write_bytes(mutated(rng, data, files, words) if rng.random() < 0.95 else data)
        rows = 0
        try:
            for item in source_items(str(path)):
                rows += 1
                json.dumps([item.id, item.payload], allow_nan=False, ensure_ascii=False).encode()
        except SourceError:
            return "refused"
        return "read" if rows else "empty"

    return case
