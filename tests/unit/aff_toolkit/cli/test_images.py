"""`aff ls`, `show`, `edit`, `delete` and the forms of `aff search` against the running services."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from aff_client import IndexerClient
from aff_toolkit.cli.main import app
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes

MAKE, GPS = 0x010F, 0x8825


def aff(services: LocalServices, *words: str | Path, **options: str) -> Result:
    urls = {"AFF_QUERY_URL": services.query_url, "AFF_INDEXER_URL": services.indexer_url}
    return CliRunner().invoke(app, [str(word) for word in words], env=urls, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, services: LocalServices) -> Iterator[Path]:
    """Four photographs in two folders, indexed with their details; the first has EXIF."""
    folder = tmp_path_factory.mktemp("own")
    for name, scene in {"a/1.jpg": 1, "a/2.jpg": 2, "b/3.jpg": 3, "b/4.jpg": 4}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(jpeg_bytes(render_view(scene, 0, size=(120, 160))))
    exif = Image.Exif()
    exif[MAKE] = "Lumen"
    exif[GPS] = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    with Image.open(io.BytesIO((folder / "a" / "1.jpg").read_bytes())) as image:
        image.save(folder / "a" / "1.jpg", exif=exif)
    failures = folder.with_suffix(".csv")
    result = aff(services, "index", folder, "--prefix", "images", "--failures", failures)
    assert "4 indexed" in result.output
    yield folder
    with IndexerClient(services.indexer_url) as client:
        client.delete([f"images/{name}" for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")])


def shown(services: LocalServices, item_id: str) -> dict[str, object]:
    payload: dict[str, object] = json.loads(aff(services, "show", item_id, "--json").stdout)["payload"]
    return payload


@pytest.mark.usefixtures("folder")
def test_a_list_is_filtered_and_counted(services: LocalServices) -> None:
    listed = json.loads(aff(services, "ls", "--filter", "folder=images/b", "--json").stdout)
    assert {image["id"] for image in listed["images"]} == {"images/b/3.jpg", "images/b/4.jpg"}
    assert listed["total"] == 2
    one = aff(services, "ls", "--filter", '{"must": [{"key": "folder", "match": "images/b"}]}', "--limit", "1")
    assert "1 of 2 images" in one.stdout


def test_a_filter_that_is_neither_form_is_rejected(services: LocalServices) -> None:
    result = aff(services, "ls", "--filter", "{city", "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "filter_invalid")


@pytest.mark.usefixtures("folder")
def test_indexing_adds_details_of_the_photograph(services: LocalServices) -> None:
    payload = shown(services, "images/a/1.jpg")
    assert (payload["folder"], payload["file_name"], payload["camera"]) == ("images/a", "1.jpg", "Lumen")
    assert payload["location"] == pytest.approx({"lat": 48.858333, "lon": 2.294444}, abs=1e-4)


@pytest.mark.parametrize(
    ("option", "keys"), [("--no-location", {"folder", "file_name", "camera"}), ("--no-details", set())]
)
def test_details_can_be_left_out(services: LocalServices, folder: Path, option: str, keys: set[str]) -> None:
    source = folder / "a" / "1.jpg"
    aff(services, "index", source, "--prefix", f"images{option}", option, "--failures", folder.with_suffix(".csv"))
    assert shown(services, f"images{option}/1.jpg").keys() == keys
    assert "1 images deleted" in aff(services, "delete", f"images{option}/1.jpg").stdout


@pytest.mark.usefixtures("folder")
def test_an_edit_keeps_other_keys_and_a_replacement_does_not(services: LocalServices) -> None:
    changed = aff(services, "edit", "images/a/2.jpg", "year=2024", "city=Paris", "--remove", "file_name")
    assert "city: Paris" in changed.stdout
    assert shown(services, "images/a/2.jpg") == {"folder": "images/a", "year": 2024, "city": "Paris"}
    aff(services, "edit", "images/a/2.jpg", "--replace", '{"year": 2025}')
    assert shown(services, "images/a/2.jpg") == {"year": 2025}
    assert aff(services, "edit", "images/a/2.jpg").exit_code == 1


def test_a_missing_image_is_an_error_of_show_and_status_3_of_delete(services: LocalServices) -> None:
    missing = aff(services, "show", "images/none", "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["code"]) == (1, "image_not_found")
    assert aff(services, "delete", "images/none").exit_code == 3


def test_deleting_by_a_filter_prompts(services: LocalServices, folder: Path) -> None:
    failures = folder.with_suffix(".csv")
    aff(services, "index", folder / "b", "--prefix", "doomed", "--failures", failures)
    by_filter = ("delete", "--filter", "folder=doomed")
    assert aff(services, *by_filter, input="n\n").exit_code == 1
    assert json.loads(aff(services, "ls", "--filter", "folder=doomed", "--json").stdout)["total"] == 2
    assert json.loads(aff(services, *by_filter, "--yes", "--json").stdout) == {"deleted": 2, "missing": 0}
    assert aff(services, "delete").exit_code == 1


def test_search_with_several_photographs_a_group_and_similar_images(services: LocalServices, folder: Path) -> None:
    found = json.loads(aff(services, "search", "--similar", "images/b/3.jpg", "--limit", "500", "--json").stdout)[
        "hits"
    ]
    assert "images/b/4.jpg" in {hit["id"] for hit in found}
    photos = (folder / "b" / "3.jpg", folder / "b" / "4.jpg")
    only = '{"should": [{"key": "folder", "match": "images/a"}, {"key": "folder", "match": "images/b"}]}'
    words = ("search", *photos, "--group-by", "folder", "--filter", only, "--expand", "1", "--json")
    grouped = json.loads(aff(services, *words).stdout)["hits"]
    assert {hit["payload"]["folder"] for hit in grouped} == {"images/a", "images/b"} or len(grouped) == 1
    assert len(grouped) == len({hit["payload"]["folder"] for hit in grouped})


@pytest.mark.parametrize("words", [[], ["one.jpg", "--similar", "x"], ["one.jpg", "two.jpg", "--crop", "0,0,9,9"]])
def test_contradicting_options_of_search_are_rejected(services: LocalServices, words: list[str]) -> None:
    result = aff(services, "search", *words, "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "parameter_invalid")
