"""Contents of a source: ids, bytes and payloads, from real files and a real remote-like file system."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from aff_shared.errors import AffError
from aff_toolkit.errors import DatasetError
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.sources import source_items
from tests.support.hub_datasets import IMAGE, images_table, write_dataset_file


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
    assert _payloads(tmp_path)["b/photo.png"] == {}  # its place is not disclosed


def test_a_second_look_returns_the_same_order(tmp_path: Path) -> None:
    _write(tmp_path, *(f"{folder}/{name}.png" for folder in "zyx" for name in "cab"))
    assert list(_contents(tmp_path)) == [f"{folder}/{name}.png" for folder in "xyz" for name in "abc"]


def test_a_pattern_takes_what_it_matches_with_ids_from_its_fixed_part_on(tmp_path: Path) -> None:
    _write(tmp_path, "photos/a/1.jpg", "photos/a/2.png", "photos/b/c/3.jpg")
    assert list(_contents(tmp_path / "photos/**/*.jpg")) == ["a/1.jpg", "b/c/3.jpg"]


def test_one_file_is_a_source_of_one_image(tmp_path: Path) -> None:
    _write(tmp_path, "photo.jpg", "other.jpg")
    assert _contents(tmp_path / "photo.jpg") == {"photo.jpg": b"photo.jpg"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the folder or file does not exist") as caught:
        next(source_items(str(tmp_path / "none")))
    assert caught.value.item == str(tmp_path / "none")


@pytest.mark.parametrize("pattern", ["", "*.jpg"])
def test_a_source_without_images_is_rejected(tmp_path: Path, pattern: str) -> None:
    _write(tmp_path, "notes.txt")
    with pytest.raises(SourceError, match="holds no image files"):
        list(source_items(f"{tmp_path}/{pattern}"))


def test_file_names_that_are_not_utf8_get_printable_ids(tmp_path: Path) -> None:
    for raw in (b"caf\xe8.png", b"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(raw)
    assert _contents(tmp_path) == {"caf\\xe8.png": b"caf\xe8.png", "caf\\xe9.png": b"caf\xe9.png"}


@pytest.mark.parametrize(("on_disk", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_list_may_write_a_name_in_another_form_of_unicode_than_the_disk(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], listed: Literal["NFC", "NFD"]
) -> None:
    (tmp_path / normalize(on_disk, "Zürich")).mkdir()
    (tmp_path / normalize(on_disk, "Zürich/café.jpg")).write_bytes(b"photograph")
    (tmp_path / "list.csv").write_text(normalize(listed, "path\nZürich/café.jpg\n"), encoding="utf-8")
    assert _contents(tmp_path / "list.csv") == {normalize("NFC", "Zürich/café.jpg"): b"photograph"}


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


def test_a_protocol_without_its_driver_names_the_package() -> None:
    with pytest.raises(SourceError, match="s3fs"):
        next(source_items("s3://bucket/photos"))


def test_a_protocol_that_does_not_exist_is_reported() -> None:
    with pytest.raises(SourceError, match="Protocol not known: warp"):
        next(source_items("warp://bucket/photos"))


def test_a_list_returns_ids_places_and_typed_payloads(tmp_path: Path) -> None:
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
        ("x,p.jpg,soon,", "x", "line 2: column year: 'soon' is not a whole number"),
        (',"",1900,', "list.csv, line 2", "line 2: column path is empty"),
        ("x,p.jpg,1900,[1]", "x", r"line 2: column payload: \[1\] is not a JSON object"),
        ("x,p.jpg,1900,{", "x", "line 2: column payload: '{' is not JSON"),
        ("x,p.jpg,1900," + "[" * 100_000, "x", "line 2: column payload: .* is not JSON"),
        ('x,p.jpg,1900,"{""height"": NaN}"', "x", "cannot be written as JSON"),
        ('x,p.jpg,1900,"{""city"": ""\\ud800""}"', "x", "cannot be written as JSON"),
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
    "data",
    [
        "path;city\na.jpg;Köln\n".encode(),
        "\ufeffPath ; city\na.jpg ; Köln\n".encode(),
        "file_name\tcity\na.jpg\tKöln\n".encode("utf-16"),
        "SourceFile|city\n./a.jpg|Köln\n".encode(),
        "URL,city,,\na.jpg,Köln,,\n".encode(),
        ",path,city\n0,a.jpg,Köln\n".encode(),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "LIST.CSV", "list.TSV"])
def test_a_list_may_have_any_form_that_spreadsheets_and_programs_write(tmp_path: Path, data: bytes, name: str) -> None:
    _write(tmp_path, "a.jpg")
    (tmp_path / name).write_bytes(data)
    assert _contents(tmp_path / name) == {"a.jpg": b"a.jpg"}
    assert _payloads(tmp_path / name) == {"a.jpg": {"city": "Köln"}}


def test_a_list_next_to_the_folder_of_its_images_has_ids_that_an_image_may_have(tmp_path: Path) -> None:
    _write(tmp_path, "photos/a.jpg")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text("path\n../photos/a.jpg\n")
    assert _contents(tmp_path / "lists" / "list.csv") == {"photos/a.jpg": b"photos/a.jpg"}


def test_headings_with_colons_dots_and_blanks_are_keys_of_the_payload(tmp_path: Path) -> None:
    _write(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_text("ID,path,EXIF:Make,dc:year:int,a.b,Focal Length\n0,a.jpg,NIKON,1999,x,50\n")
    (item,) = source_items(str(tmp_path / "list.csv"))
    assert item.id == "0"
    assert item.payload == {"EXIF:Make": "NIKON", "dc:year": 1999, "a.b": "x", "Focal Length": "50"}


def test_a_path_that_windows_wrote_is_found_and_a_backslash_in_a_name_stays(tmp_path: Path) -> None:
    _write(tmp_path, "sub/a.jpg", "back\\slash.jpg")
    (tmp_path / "list.csv").write_text("path\nsub\\a.jpg\nback\\slash.jpg\n")
    assert _contents(tmp_path / "list.csv") == {"sub/a.jpg": b"sub/a.jpg", "back\\slash.jpg": b"back\\slash.jpg"}


def test_a_row_of_another_encoding_or_with_a_cell_too_many_fails_by_line_and_column(tmp_path: Path) -> None:
    _write(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = "path;city\na.jpg;Köln\nb.jpg;Bern;Switzerland\nc.jpg;Rome\n"
    (tmp_path / "list.csv").write_bytes(rows.encode("cp1252"))
    first, second, good = source_items(str(tmp_path / "list.csv"))
    with pytest.raises(
        SourceError, match=r"a\.jpg: line 2: column city: 'K\\xf6ln' is not UTF-8; save the list as UTF-8"
    ):
        first.read()
    with pytest.raises(SourceError, match=r"line 3: has 3 cells below 2 headings; .* has to be quoted"):
        second.read()
    assert (good.id, good.read(), good.payload) == ("c.jpg", b"c.jpg", {"city": "Rome"})


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("id,city\n1,Paris\n", "neither of the columns path and url, but id, city; name the one of the image files"),
        ("path,city,city\na,b,c\n", "two columns are named city"),
        ("path,year,year:int\na,b,1\n", "two columns are named year"),
        ("path,city\n\n", "lists no images"),
        ("", "no line with the names of the columns"),
        (None, "cannot be read"),
    ],
)
def test_a_list_of_another_form_is_rejected(tmp_path: Path, text: str | None, detail: str) -> None:
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
    columns = {"path": ["1.jpg", "2.jpg"], "height": [float("nan"), 2.5], "raw": [b"\xff", None]}
    parquet.write_table(pa.table(columns), tmp_path / "list.parquet")
    bad, good = source_items(str(tmp_path / "list.parquet"))
    with pytest.raises(SourceError, match="'height' of the payload, nan, cannot be written as JSON; leave it out"):
        bad.read()
    assert (good.id, good.payload, good.read()) == ("2.jpg", {"height": 2.5}, b"2.jpg")


def test_a_parquet_list_whose_column_names_are_no_text_is_rejected(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"pathé": ["1.jpg"]}), tmp_path / "list.parquet")
    data = (tmp_path / "list.parquet").read_bytes()
    (tmp_path / "list.parquet").write_bytes(data.replace("é".encode(), b"\xff\xff"))
    with pytest.raises(SourceError, match="cannot be read"):
        list(source_items(str(tmp_path / "list.parquet")))


def _parquet(file: Path, /, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), file)
    return file


def test_a_parquet_list_may_hold_the_images_as_the_hub_writes_them(tmp_path: Path) -> None:
    _write(tmp_path, "sub/c.jpg")
    images = [
        {"bytes": b"one", "path": "a.jpg"},
        {"bytes": b"two", "path": None},
        {"bytes": None, "path": "sub/c.jpg"},
    ]
    path = _parquet(tmp_path / "HUB.PARQUET", image=pa.array(images, IMAGE), label=[3, 4, None])
    assert _contents(path) == {"a.jpg": b"one", "HUB.PARQUET/2": b"two", "sub/c.jpg": b"sub/c.jpg"}
    assert _payloads(path) == {"a.jpg": {"label": 3}, "HUB.PARQUET/2": {"label": 4}, "sub/c.jpg": {}}


def test_a_row_of_parquet_may_hold_several_images(tmp_path: Path) -> None:
    images = [[{"bytes": b"one", "path": None}, {"bytes": b"two", "path": None}], [{"bytes": b"three", "path": None}]]
    path = _parquet(tmp_path / "t.parquet", photos=pa.array(images, pa.list_(IMAGE)), id=[7, 8], city=["Paris", "Bern"])
    assert _contents(path) == {"7/1": b"one", "7/2": b"two", "8": b"three"}
    assert _payloads(path) == {"7/1": {"city": "Paris"}, "7/2": {"city": "Paris"}, "8": {"city": "Bern"}}
    path = _parquet(tmp_path / "u.parquet", photos=pa.array(images, pa.list_(IMAGE)))
    assert _contents(path) == {"u.parquet/1/1": b"one", "u.parquet/1/2": b"two", "u.parquet/2": b"three"}


def test_of_several_columns_of_images_the_one_called_image_is_taken(tmp_path: Path) -> None:
    masks = pa.array([{"bytes": b"mask", "path": None}], IMAGE)
    path = _parquet(tmp_path / "a.parquet", mask=masks, Image=pa.array([b"photo"], pa.binary()), url=["http://h/a.jpg"])
    (item,) = source_items(str(path))
    assert (item.id, item.read(), item.payload) == ("http://h/a.jpg", b"photo", {})
    path = _parquet(tmp_path / "b.parquet", left=masks, right=masks)
    with pytest.raises(SourceError, match="holds images in the columns left, right; name the one to index 'image'"):
        list(source_items(str(path)))


def test_rows_of_parquet_without_an_image_or_with_an_id_of_another_fail_alone(tmp_path: Path) -> None:
    images = [{"bytes": b"one", "path": "image.jpg"}, None, {"bytes": b"two", "path": "image.jpg"}]
    good, empty, again = source_items(str(_parquet(tmp_path / "t.parquet", image=pa.array(images, IMAGE))))
    assert good.read() == b"one"
    with pytest.raises(SourceError, match="row 2: column image is empty"):
        empty.read()
    with pytest.raises(
        SourceError, match=r"row 3: an earlier row has the same id 'image\.jpg'; add a column id to the list"
    ):
        again.read()


def test_times_of_parquet_are_written_as_iso_8601(tmp_path: Path) -> None:
    when = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    path = _parquet(tmp_path / "t.parquet", path=["a.jpg"], seen=[when], visits=[{"at": [when]}])
    text = "2024-05-01T12:30:00+00:00"
    assert _payloads(path) == {"a.jpg": {"seen": text, "visits": {"at": [text]}}}


def test_a_damaged_parquet_list_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="cannot be read"):
        list(source_items(str(tmp_path / "list.parquet")))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_folder_or_pattern_of_a_data_set_is_one_source(tmp_path: Path, suffix: str) -> None:
    tables = {"train-10": images_table([b"three"], [None]), "train-9": images_table([b"one", None, b"two"], [0, 1, 1])}
    for name, table in tables.items():
        write_dataset_file(tmp_path / "set" / "data" / f"{name}.{suffix}", table)
    (tmp_path / "set" / "README.md").write_text("text")
    for location, start in ((tmp_path / "set", "data/"), (tmp_path / "set" / "data" / f"train-*.{suffix}", "")):
        first, empty, second, third = source_items(str(location))
        assert [item.id for item in (first, second, third)] == [
            *(f"{start}train-9.{suffix}/{row}" for row in (1, 3)),
            f"{start}train-10.{suffix}/1",
        ]
        assert [item.read() for item in (first, second, third)] == [b"one", b"two", b"three"]
        assert [item.payload for item in (first, second, third)] == [{"label": "cat"}, {"label": "dog"}, {}]
        with pytest.raises(SourceError, match="row 2: column image is empty"):
            empty.read()
    with pytest.raises(SourceError, match="no file has such a name"):
        list(source_items(str(tmp_path / "set" / f"test-*.{suffix}")))


def test_an_id_of_another_file_of_a_data_set_fails_alone(tmp_path: Path) -> None:
    for number in (1, 2):
        images = pa.array([{"bytes": b"one", "path": "image.jpg"}], IMAGE)
        _parquet(tmp_path / f"{number}.parquet", image=images)
    good, again = source_items(str(tmp_path))
    assert (good.id, good.read()) == ("image.jpg", b"one")
    with pytest.raises(SourceError, match="an earlier row has the same id"):
        again.read()


def test_a_data_set_of_the_hub_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    folder = tmp_path / "owner___name" / "default" / "0.0.0" / "ab"
    write_dataset_file(folder / "name-train.arrow", images_table([b"one"], [0]))
    write_dataset_file(folder / "name-test.arrow", images_table([b"two"], [1]))
    (folder / "dataset_info.json").write_text("{}")
    assert _contents("hf:owner/name?split=test") == {"name-test.arrow/1": b"two"}
    assert len(_contents("hf:owner/name")) == 2
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match="owner/other: is not on this machine"):
        list(source_items("hf:owner/other"))


def test_a_stream_of_images_is_read_a_few_at_a_time(tmp_path: Path) -> None:
    """200 images of 256 kB, in batches of 4: the memory of pyarrow stays at a few batches."""
    table = images_table([bytes(2**18)] * 200, [0] * 200)
    path = write_dataset_file(tmp_path / "big.arrow", table, rows_together=4)
    del table
    before, most = pa.total_allocated_bytes(), 0
    for item in source_items(str(path)):
        assert len(item.read()) == 2**18
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10 * 2**20


@pytest.mark.parametrize(("name", "mode"), [("shard.tar", "w"), ("shard.tar.gz", "w:gz")])
def test_a_shard_returns_its_images_with_their_payloads(tmp_path: Path, name: str, mode: str) -> None:
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


@pytest.mark.parametrize("last", ["image", "payload"])
def test_images_with_dots_in_their_names_have_each_its_own_payload(tmp_path: Path, last: str) -> None:
    days = [f"{number:03d}" for number in range(100)]
    members: dict[str, bytes] = {}
    for day in days:
        image, payload = {f"IMG.2024.{day}.jpg": b"x"}, {f"IMG.2024.{day}.json": b'{"day": "%s"}' % day.encode()}
        members |= {**image, **payload} if last == "payload" else {**payload, **image}
    _tar(tmp_path / "shard.tar", members)
    assert _payloads(tmp_path / "shard.tar") == {f"IMG.2024.{day}.jpg": {"day": day} for day in days}


def test_of_several_payloads_of_a_key_an_image_has_the_one_with_most_of_its_name(tmp_path: Path) -> None:
    members = {
        "1.json": b'{"of": "all"}',
        "1.left.JSON": b'{"of": "left"}',
        "1.left.jpg": b"x",
        "1.left.jpg.json": b'{"of": "left.jpg"}',
        "1.left.png": b"x",
        "1.right.jpg": b"x",
        "2.jpg": b"x",
        "2.meta.json": b'{"of": "2"}',
        "3.a.jpg": b"x",
        "3.b.json": b'{"of": "3.b"}',
    }
    _tar(tmp_path / "shard.tar", members)
    assert _payloads(tmp_path / "shard.tar") == {
        "1.left.jpg": {"of": "left.jpg"},
        "1.left.png": {"of": "left"},
        "1.right.jpg": {"of": "all"},
        "2.jpg": {"of": "2"},
        "3.a.jpg": {},
    }


def test_images_of_one_key_do_not_wait_for_the_end_of_a_shard(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {f"IMG.{number}.jpg": b"x" * 10_000 for number in range(200)})
    whole = (tmp_path / "shard.tar").read_bytes()
    (tmp_path / "shard.tar").write_bytes(whole[: len(whole) // 2])
    items = source_items(str(tmp_path / "shard.tar"))
    assert next(items).id == "IMG.0.jpg"


def test_a_shard_that_a_mac_packed_has_neither_its_hidden_files_nor_dots_before_names(tmp_path: Path) -> None:
    members = {
        "./.DS_Store": b"x",
        "./._a.jpg": b"x",
        "././a.jpg": b"a",
        "./a.json": b'\xef\xbb\xbf{"bom": true}',
        "__MACOSX/._b.jpg": b"x",
        f"./{'long/' * 40}b.jpg": b"b",
    }
    with tarfile.open(tmp_path / "SHARD.TAR", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.pax_headers = {"LIBARCHIVE.xattr.com.apple.quarantine": "MDA4"}
            archive.addfile(member, io.BytesIO(data))
    assert _payloads(tmp_path / "SHARD.TAR") == {"a.jpg": {"bom": True}, f"{'long/' * 40}b.jpg": {}}


def test_links_folders_and_large_members_of_a_shard_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "1000")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name, size, kind in (
            ("a.jpg", 1000, tarfile.REGTYPE),
            ("folder.jpg", 0, tarfile.DIRTYPE),
            ("hard.jpg", 0, tarfile.LNKTYPE),
            ("large.jpg", 1001, tarfile.REGTYPE),
            ("soft.jpg", 0, tarfile.SYMTYPE),
            ("z.jpg", 10, tarfile.REGTYPE),
            ("z.json", 2**20 + 1, tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = size, kind, "a.jpg"
            archive.addfile(member, io.BytesIO(bytes(size)))
    details = {}
    for item in source_items(str(tmp_path / "shard.tar")):
        try:
            details[item.id] = str(len(item.read()))
        except AffError as error:
            details[item.id] = error.detail
    link = "is a link to a.jpg; pack what links lead to: tar --dereference --hard-dereference"
    assert details == {
        "a.jpg": "1000",
        "hard.jpg": link,
        "large.jpg": "1,001 bytes, more than the 1,000 bytes of AFF_MAX_IMAGE_BYTES",
        "soft.jpg": link,
        "z.jpg": "z.json has more than 1,048,576 bytes",
    }


@pytest.mark.parametrize("name", ["shard-*.tar", "notes.tar"])
def test_shards_without_images_are_rejected(tmp_path: Path, name: str) -> None:
    _tar(tmp_path / "notes.tar", {"notes.txt": b"x", "a.json": b"{}"})
    with pytest.raises(SourceError, match=r"holds no image files|no file has such a name"):
        list(source_items(str(tmp_path / name)))


def test_a_shard_whose_name_is_a_pattern_is_taken_by_its_name(tmp_path: Path) -> None:
    _tar(tmp_path / "Italy [2025] {0..1}.tar", {"1.jpg": b"x"})
    assert list(_contents(tmp_path / "Italy [2025] {0..1}.tar")) == ["1.jpg"]


def test_a_payload_of_a_shard_that_is_not_an_object_fails_its_image_alone(tmp_path: Path) -> None:
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


def test_a_name_in_a_shard_that_is_not_utf8_is_escaped_as_in_a_folder(tmp_path: Path) -> None:
    _tar(tmp_path / "shard.tar", {"caf\udce9.jpg": b"one", "2.jpg": b"two"})
    assert _contents(tmp_path / "shard.tar") == {"caf\\xe9.jpg": b"one", "2.jpg": b"two"}


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_shard_that_ends_in_its_header_is_rejected(tmp_path: Path, mode: str) -> None:
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
    assert _contents(tmp_path / "shard.tar") == {"evil.jpg": b"x", "/etc/evil.jpg": b"y"}


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


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        *((name, "unpack it") for name in ("photos.zip", "photos.ZIP", "shard.tar.zst", "list.csv.gz", "a.7z")),
        *((name, r"save the list as \.csv") for name in ("list.xlsx", "list.jsonl", "files.txt")),
    ],
)
def test_an_archive_or_list_that_is_not_read_is_rejected_with_what_to_do(
    tmp_path: Path, name: str, remedy: str
) -> None:
    (tmp_path / name).write_bytes(b"bytes")
    with pytest.raises(SourceError, match=remedy):
        list(source_items(str(tmp_path / name)))
    folder = tmp_path / "folder" / name
    _write(folder, "a.jpg")
    assert _contents(folder) == {"a.jpg": b"a.jpg"}
