"""What a source gives: ids, bytes and payloads, from real files and a real remote-like file system."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from aff_contracts.errors import MissingExtraError
from aff_toolkit.indexing.source import source_items
from aff_toolkit.indexing.source_item import SourceError


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def _tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _contents(location: Path | str) -> dict[str, bytes]:
    return {item.id: item.read() for item in source_items(str(location))}


def _payloads(location: Path | str) -> dict[str, Any]:
    return {item.id: item.payload for item in source_items(str(location))}


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def test_the_images_below_a_folder_have_their_paths_in_it_for_ids(tmp_path: Path) -> None:
    _write(tmp_path, "b/photo.png", "photo-1.png", "a.JPEG", "notes.txt", "b/c/photo.webp")
    (tmp_path / "folder.png").mkdir()
    assert _contents(tmp_path) == {
        name: name.encode() for name in ("a.JPEG", "photo-1.png", "b/photo.png", "b/c/photo.webp")
    }
    assert _payloads(tmp_path)["b/photo.png"] == {}  # where it lies is nobody else's business


def test_a_second_look_gives_the_same_order(tmp_path: Path) -> None:
    _write(tmp_path, *(f"{folder}/{name}.png" for folder in "zyx" for name in "cab"))
    assert list(_contents(tmp_path)) == [f"{folder}/{name}.png" for folder in "xyz" for name in "abc"]


def test_a_pattern_takes_what_it_matches_with_ids_from_its_fixed_part_on(tmp_path: Path) -> None:
    _write(tmp_path, "photos/a/1.jpg", "photos/a/2.png", "photos/b/c/3.jpg")
    assert list(_contents(tmp_path / "photos/**/*.jpg")) == ["a/1.jpg", "b/c/3.jpg"]


def test_one_file_is_a_source_of_one_image(tmp_path: Path) -> None:
    _write(tmp_path, "photo.jpg", "other.jpg")
    assert _contents(tmp_path / "photo.jpg") == {"photo.jpg": b"photo.jpg"}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such folder or file") as caught:
        next(source_items(str(tmp_path / "none")))
    assert caught.value.item == str(tmp_path / "none")


@pytest.mark.parametrize("pattern", ["", "*.jpg"])
def test_a_source_without_images_is_refused(tmp_path: Path, pattern: str) -> None:
    _write(tmp_path, "notes.txt")
    with pytest.raises(SourceError, match="holds no image files"):
        list(source_items(f"{tmp_path}/{pattern}"))


def test_file_names_that_are_not_utf8_get_printable_ids_of_their_own(tmp_path: Path) -> None:
    for raw in (b"caf\xe8.png", b"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(raw)
    assert _contents(tmp_path) == {"caf\\xe8.png": b"caf\xe8.png", "caf\\xe9.png": b"caf\xe9.png"}


def test_a_folder_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    _write(tmp_path, "photo.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert list(_contents(tmp_path)) == ["photo.png"]


def test_a_folder_of_another_file_system_is_read_by_its_url(memory: Any) -> None:
    memory.pipe({"/bucket/photos/a.jpg": b"a", "/bucket/photos/b/c.png": b"c", "/bucket/notes.jpg": b"n"})
    assert _contents("memory://bucket/photos") == {"a.jpg": b"a", "b/c.png": b"c"}
    assert list(_contents("memory://bucket/*.jpg")) == ["notes.jpg"]


def test_a_remote_read_that_fails_is_tried_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe({"/bucket/a.jpg": b"a"})
    (item,) = source_items("memory://bucket/a.jpg")
    failures = [ConnectionResetError("reset"), TimeoutError("slow")]
    pauses: list[float] = []
    read = type(memory).cat_file

    def flaky(self: Any, *arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(self, *arguments, **options)

    monkeypatch.setattr(type(memory), "cat_file", flaky)
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert item.read() == b"a"
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1.0
    memory.rm("/bucket/a.jpg")
    with pytest.raises(FileNotFoundError):
        item.read()
    assert len(pauses) == 2


def test_a_protocol_without_its_driver_says_what_to_install() -> None:
    with pytest.raises(SourceError, match="s3fs"):
        next(source_items("s3://bucket/photos"))


def test_a_protocol_that_there_is_not_is_told() -> None:
    with pytest.raises(SourceError, match="Protocol not known: warp"):
        next(source_items("warp://bucket/photos"))


def test_a_list_gives_ids_places_and_typed_payloads(tmp_path: Path) -> None:
    _write(tmp_path, "p/1.jpg", "p/2.jpg")
    (tmp_path / "list.csv").write_text(
        'id,path,city,year:int,open:bool,payload\none,p/1.jpg,Paris,1889,true,"{""a"": [1]}"\n,p/2.jpg,,,,\n'
    )
    assert _contents(tmp_path / "list.csv") == {"one": b"p/1.jpg", "p/2.jpg": b"p/2.jpg"}
    assert _payloads(tmp_path / "list.csv") == {
        "one": {"city": "Paris", "year": 1889, "open": True, "a": [1]},
        "p/2.jpg": {},
    }


def test_a_list_may_name_urls(tmp_path: Path, memory: Any) -> None:
    memory.pipe({"/bucket/a.jpg": b"a"})
    (tmp_path / "list.csv").write_text("url\nmemory://bucket/a.jpg\n")
    assert _contents(tmp_path / "list.csv") == {"memory://bucket/a.jpg": b"a"}


@pytest.mark.parametrize(
    ("row", "item_id", "detail"),
    [
        ("x,p.jpg,soon,", "x", "year does not have its type"),
        (',"",1900,', "list.csv, row 1", "path is empty"),
        ("x,p.jpg,1900,[1]", "x", "payload is not a JSON object"),
        ("x,p.jpg,1900,{", "x", "payload does not have its type"),
        ("x,p.jpg,1900," + "[" * 100_000, "x", "payload does not have its type"),
        ('x,p.jpg,1900,"{""height"": NaN}"', "x", "nothing that JSON can hold"),
        ('x,p.jpg,1900,"{""city"": ""\\ud800""}"', "x", "nothing that JSON can hold"),
        ("x,warp://p.jpg,1900,", "x", "Protocol not known: warp"),
    ],
)
def test_a_row_that_cannot_be_used_fails_alone(tmp_path: Path, row: str, item_id: str, detail: str) -> None:
    _write(tmp_path, "p.jpg")
    (tmp_path / "list.csv").write_text(f"id,path,year:int,payload\n{row}\ngood,p.jpg,1900,\n")
    bad, good = source_items(str(tmp_path / "list.csv"))
    assert bad.id.endswith(item_id)
    with pytest.raises(SourceError, match=detail):
        bad.read()
    assert good.read() == b"p.jpg"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("id,city\n1,Paris\n", "neither of the columns"),
        ("path,year:date\na,1\n", "no type 'date'"),
        (None, "cannot be read"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path: Path, text: str | None, detail: str) -> None:
    if text is not None:
        (tmp_path / "list.csv").write_text(text)
    with pytest.raises(SourceError, match=detail):
        list(source_items(str(tmp_path / "list.csv")))


def test_a_parquet_list_keeps_its_types(tmp_path: Path) -> None:
    _write(tmp_path, "1.jpg", "2.jpg")
    columns = {"path": ["1.jpg", "2.jpg"], "year": [1889, None], "payload": ['{"a": 1}', None]}
    parquet.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert _payloads(tmp_path / "list.parquet") == {"1.jpg": {"year": 1889, "a": 1}, "2.jpg": {}}
    assert _contents(tmp_path / "list.parquet") == {"1.jpg": b"1.jpg", "2.jpg": b"2.jpg"}


def test_a_row_of_parquet_that_json_cannot_hold_fails_alone(tmp_path: Path) -> None:
    _write(tmp_path, "1.jpg", "2.jpg")
    columns = {"path": ["1.jpg", "2.jpg"], "height": [float("nan"), 2.5], "seen": [datetime(2024, 5, 1), None]}
    parquet.write_table(pa.table(columns), tmp_path / "list.parquet")
    bad, good = source_items(str(tmp_path / "list.parquet"))
    with pytest.raises(SourceError, match="nothing that JSON can hold"):
        bad.read()
    assert (good.id, good.payload, good.read()) == ("2.jpg", {"height": 2.5}, b"2.jpg")


def test_a_parquet_list_whose_column_names_are_no_text_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"pathé": ["1.jpg"]}), tmp_path / "list.parquet")
    data = (tmp_path / "list.parquet").read_bytes()
    (tmp_path / "list.parquet").write_bytes(data.replace("é".encode(), b"\xff\xff"))
    with pytest.raises(SourceError, match="cannot be read"):
        list(source_items(str(tmp_path / "list.parquet")))


def test_a_damaged_parquet_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="cannot be read"):
        list(source_items(str(tmp_path / "list.parquet")))


def test_parquet_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"aff-toolkit\[parquet\]"):
        list(source_items("list.parquet"))


@pytest.mark.parametrize(("name", "mode"), [("shard.tar", "w"), ("shard.tar.gz", "w:gz")])
def test_a_shard_gives_its_images_with_their_payloads(tmp_path: Path, name: str, mode: str) -> None:
    members = {
        "a/1.jpg": b"one",
        "a/1.json": b'{"city": "Paris"}',
        "a/1.cls": b"7",
        "2.json": b'{"city": "Rome"}',
        "2.left.png": b"two",
        "3.webp": b"three",
    }
    _tar(tmp_path / name, members, mode)
    assert _contents(tmp_path / name) == {"a/1.jpg": b"one", "2.left.png": b"two", "3.webp": b"three"}
    assert _payloads(tmp_path / name) == {"a/1.jpg": {"city": "Paris"}, "2.left.png": {"city": "Rome"}, "3.webp": {}}


def test_a_payload_of_a_shard_that_is_no_object_fails_its_image_alone(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {"1.jpg": b"one", "1.json": b"[1]", "2.jpg": b"two"})
    bad, good = source_items(str(tmp_path / "shard.tar"))
    with pytest.raises(SourceError, match=r"1\.json is not a JSON object"):
        bad.read()
    assert good.read() == b"two"


def test_a_payload_of_a_shard_that_is_too_deep_fails_its_image_alone(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {"1.jpg": b"one", "1.json": b"[" * 100_000, "2.jpg": b"two"})
    bad, good = source_items(str(tmp_path / "shard.tar"))
    with pytest.raises(SourceError, match=r"1\.json is not a JSON object"):
        bad.read()
    assert good.read() == b"two"


def test_a_name_in_a_shard_that_is_not_utf8_fails_its_image_alone(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {"caf\udce9.jpg": b"one", "2.jpg": b"two"})
    bad, good = source_items(str(tmp_path / "shard.tar"))
    assert bad.id == "caf\\udce9.jpg"
    with pytest.raises(SourceError, match="nothing that JSON can hold"):
        bad.read()
    assert good.read() == b"two"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_shard_that_ends_in_its_header_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "shard.tar"
    _tar(path, {"1.jpg": b"one"}, mode)
    whole = path.read_bytes()
    for size in range(1, 20):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match="cannot be read"):
            list(source_items(str(path)))


def test_a_range_of_shards_is_read_one_after_the_other(tmp_path: Path, memory: Any) -> None:
    for number in range(8, 12):
        _tar(tmp_path / f"shard-{number:03d}.tar", {f"{number}.jpg": b"x"})
        memory.pipe(f"/bucket/shard-{number:03d}.tar", (tmp_path / f"shard-{number:03d}.tar").read_bytes())
    assert list(_contents(f"{tmp_path}/shard-{{008..010}}.tar")) == ["8.jpg", "9.jpg", "10.jpg"]
    assert list(_contents("memory://bucket/shard-{009..011}.tar")) == ["9.jpg", "10.jpg", "11.jpg"]
    assert list(_contents(f"{tmp_path}/shard-*.tar")) == ["8.jpg", "9.jpg", "10.jpg", "11.jpg"]


def test_names_in_a_shard_that_lead_elsewhere_are_only_ids(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {"../../evil.jpg": b"x", "/etc/evil.jpg": b"y"})
    assert _contents(tmp_path / "shard.tar") == {"../../evil.jpg": b"x", "/etc/evil.jpg": b"y"}


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_shard_that_cannot_be_read_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "shard.tar"
    _tar(path, {"1.jpg": os.urandom(30_000)})
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:10_000] if damage == "cut" else json.dumps("no tar file" * 1000).encode())
    with pytest.raises(SourceError, match="cannot be read") as caught:
        list(source_items(str(path)))
    assert caught.value.item == str(path)
