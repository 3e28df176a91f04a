"""The large view, the gallery and adding photographs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from aff_client.index_client import IndexerClient, Upload
from aff_toolkit.local.local_service import LocalServices
from tests.browser.conftest import SCENES, VIEWS, OpenPage, photograph
from tests.browser.steps import HITS, eventually, ids_of, pick, search, transfer

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

TILES = ".days .tile"
GONE = "async id => (await fetch(`/images?id=${encodeURIComponent(id)}`)).status === 404"
IMAGES = SCENES * VIEWS


def delete(services: LocalServices, ids: list[str]) -> None:
    """Delete images without the page."""
    httpx.post(f"{services.indexer_url}/images/delete", json={"ids": ids}).raise_for_status()


@pytest.fixture
def extra(services: LocalServices) -> Iterator[list[str]]:
    """Ids of three photographs that a test may delete or change: the newest of the gallery."""
    ids = [f"extra/{number}.jpg" for number in range(3)]
    with IndexerClient(services.indexer_url) as indexer:
        for number, item_id in enumerate(ids):
            uploaded = Upload(item_id, "photograph", photograph(30 + number, 0), {"folder": "extra", "note": "first"})
            indexer.index([uploaded])
    yield ids
    delete(services, ids)


@pytest.fixture
def folder(tmp_path: Path, services: LocalServices) -> Iterator[Path]:
    """A folder of four photographs, one in a folder below, one damaged file, and a text; cleared from the gallery."""
    root = tmp_path / "holiday"
    (root / "rome").mkdir(parents=True)
    names = ["a.jpg", "b.jpg", "c.jpg", "rome/d.jpg"]
    for number, name in enumerate(names):
        (root / name).write_bytes(photograph(40 + number, 0))
    (root / "bad.jpg").write_bytes(b"Dear diary")
    (root / "notes.txt").write_text("nothing")
    yield root
    delete(services, [f"holiday/{name}" for name in names])


def test_a_hit_opens_large_beside_the_photograph_with_its_details(any_page: Page) -> None:
    ids = search(any_page, photograph(3, 0))
    any_page.locator(f"{HITS} .open").first.click()
    dialog = any_page.get_by_role("dialog")
    dialog.get_by_text("Your photograph").wait_for()
    assert dialog.get_by_role("img").count() == 2
    details = dialog.locator("dl").inner_text()
    for expected in ("scene 3", "2021", "320 \N{MULTIPLICATION SIGN} 240 pixels", "Camera", ids[0]):
        assert expected in details
    any_page.keyboard.press("ArrowRight")
    eventually(any_page, "id => document.querySelector('dl').textContent.includes(id)", ids[1])
    any_page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert any_page.evaluate("document.activeElement.closest('.tile').dataset.id") == ids[0]


def test_the_way_back_closes_the_large_view(any_page: Page) -> None:
    search(any_page, photograph(3, 0))
    any_page.locator(f"{HITS} .open").first.click()
    any_page.get_by_role("dialog").wait_for()
    announced = "document.querySelector('dialog').contains(document.getElementById('announcements'))"
    assert any_page.evaluate(announced)  # what is outside an open dialog is not announced
    any_page.go_back()
    any_page.get_by_role("dialog").wait_for(state="hidden")
    eventually(any_page, f"!{announced}")
    any_page.go_forward()
    any_page.get_by_role("dialog").wait_for()
    any_page.reload()
    any_page.get_by_role("dialog").wait_for()


def test_a_photograph_can_be_downloaded(page: Page) -> None:
    first = search(page, photograph(3, 0))[0]
    page.locator(f"{HITS} .open").first.click()
    with page.expect_download() as downloaded:
        page.get_by_role("dialog").get_by_text("Download").click()
    assert downloaded.value.suggested_filename == first.split("/")[1]
    assert downloaded.value.path().stat().st_size > 1000


def test_the_gallery_shows_everything_newest_first_without_an_end(any_page: Page) -> None:
    any_page.get_by_role("link", name="Gallery").click()
    any_page.wait_for_selector(f".count:has-text('{IMAGES} photographs')")
    any_page.wait_for_selector(TILES)
    assert ids_of(any_page.locator(TILES))[0] == _first(any_page, "newest")
    any_page.evaluate("scrollTo(0, document.body.scrollHeight)")
    eventually(any_page, f"document.querySelectorAll('{TILES}').length === {IMAGES}")
    assert len(set(ids_of(any_page.locator(TILES)))) == IMAGES
    any_page.get_by_label("Order").select_option("oldest")
    eventually(any_page, f"document.querySelector('{TILES}')?.dataset.id === {json.dumps(_first(any_page, 'oldest'))}")


def _first(page: Page, order: str) -> str:
    images = page.evaluate("(order) => fetch(`images?order=${order}&limit=1`).then((answer) => answer.json())", order)
    return str(images["images"][0]["id"])


def test_the_gallery_can_be_filtered(page: Page) -> None:
    page.get_by_role("link", name="Gallery").click()
    pick(page, "Folder", "scene 2")
    page.wait_for_selector(f".count:has-text('{VIEWS} photographs')")
    assert {name.split("/")[0] for name in ids_of(page.locator(TILES))} == {"scene 2"}


def test_several_are_selected_deleted_and_restored(open_page: OpenPage, extra: list[str]) -> None:
    page = open_page(path="/#gallery")
    page.wait_for_selector(TILES)
    page.get_by_label(f"Select {extra[2]}").check(force=True)
    page.get_by_label(f"Select {extra[0]}").click(modifiers=["Shift"], force=True)
    page.wait_for_selector(".selection:has-text('3 selected')")
    page.locator(".selection").get_by_text("Delete").click()
    page.wait_for_selector(".note:has-text('3 photographs deleted.')")
    assert not set(ids_of(page.locator(TILES))) & set(extra)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(f".count:has-text('{IMAGES + 3} photographs')")
    assert ids_of(page.locator(TILES))[:3] == extra[::-1]


def test_a_deletion_is_carried_out_although_the_page_was_left(open_page: OpenPage, extra: list[str]) -> None:
    page = open_page(path="/#gallery")
    page.locator(f"{TILES} .open").first.click()
    with page.expect_response("**/images/delete"):  # that deleting is possible
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_selector(".note:has-text('1 photograph deleted.')")
    address = page.url
    page.goto("about:blank")
    page.clock.install(time=datetime.now(UTC) + timedelta(minutes=1))
    page.goto(address)  # the request of a closing page may be lost
    eventually(page, GONE, extra[2])


def test_a_deletion_that_was_cut_off_is_finished_at_the_next_visit_but_for_what_was_added_since(
    open_page: OpenPage, extra: list[str], services: LocalServices
) -> None:
    page = open_page(path="/#gallery")
    page.wait_for_selector(TILES)
    address = page.url
    for item_id in extra[:2]:
        page.get_by_label(f"Select {item_id}").check(force=True)
    page.locator(".selection").get_by_text("Delete").click()
    page.wait_for_selector(".note:has-text('2 photographs deleted.')")
    page.context.set_offline(True)
    page.goto("about:blank")
    delete(services, extra[1:2])
    with IndexerClient(services.indexer_url) as indexer:
        indexer.index([Upload(extra[1], "photograph", photograph(31, 0), {})])
    page.context.set_offline(False)
    page.clock.install(time=datetime.now(UTC) + timedelta(minutes=1))
    page.goto(address)
    eventually(page, GONE, extra[0])
    assert not page.evaluate(GONE, extra[1])


def test_a_deletion_that_needs_a_key_prompts_for_it_and_is_repeated(open_page: OpenPage, extra: list[str]) -> None:
    page = open_page(path="/#gallery")
    page.wait_for_selector(TILES)
    page.clock.install()
    sent: list[tuple[str | None, str]] = []

    def answer(route: Route) -> None:
        sent.append((route.request.headers.get("authorization"), route.request.post_data or ""))
        problem = {"title": "Key missing", "detail": "send a key", "status": 401, "code": "key_missing"}
        headers = {"Access-Control-Allow-Origin": "*"}
        route.fulfill(
            status=200 if sent[-1][0] else 401, json={"deleted": 1} if sent[-1][0] else problem, headers=headers
        )

    page.route("**/images/delete", answer)
    page.get_by_label(f"Select {extra[2]}").check(force=True)
    page.locator(".selection").get_by_text("Delete").click()
    page.wait_for_selector(".note-card:has-text('Adding, editing and deleting need a key.')")
    assert ids_of(page.locator(TILES))[0] == extra[2]
    page.locator(".note-card input").fill("0a1b2c")
    with page.expect_response("**/images/delete"):  # that deleting is possible
        page.keyboard.press("Enter")
    page.wait_for_selector(".note:has-text('1 photograph deleted.')")
    with page.expect_response("**/images/delete"):
        page.clock.fast_forward(9000)
    assert sent[0][0] is None
    assert sent[-1] == ("Bearer 0a1b2c", f'{{"ids":["{extra[2]}"]}}')


def test_details_are_edited_added_and_removed(open_page: OpenPage, extra: list[str]) -> None:
    page = open_page(path="/#gallery")
    page.locator(f"{TILES} .open").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Edit details").click()
    dialog.get_by_label("Folder").fill("renamed")
    dialog.get_by_label("Note", exact=True).fill("")
    dialog.get_by_role("button", name="Add a detail").click()
    dialog.get_by_label("Name").fill("stars")
    dialog.get_by_label("Value").fill("5")
    dialog.get_by_role("button", name="Save").click()
    dialog.locator("dd:has-text('renamed')").wait_for()
    fetched = "async id => (await (await fetch(`/images?id=${encodeURIComponent(id)}`)).json()).payload"
    assert page.evaluate(fetched, extra[2]) == {"folder": "renamed", "stars": 5}


def test_several_receive_a_detail_at_once(open_page: OpenPage, extra: list[str]) -> None:
    page = open_page("phone", path="/#gallery")
    page.wait_for_selector(TILES)
    for item_id in extra[:2]:
        page.get_by_label(f"Select {item_id}").check(force=True)
    page.locator(".selection").get_by_role("button", name="Add a detail").click()
    page.locator(".selection").get_by_label("Name").fill("trip")
    page.locator(".selection").get_by_label("Value").fill("2024")
    page.locator(".selection").get_by_role("button", name="Save").click()
    page.wait_for_selector(".note:has-text('Saved.')")
    fetched = "async id => (await (await fetch(`/images?id=${encodeURIComponent(id)}`)).json()).payload.trip ?? null"
    assert [page.evaluate(fetched, item_id) for item_id in extra] == ["2024", "2024", None]


def test_a_folder_is_added_with_a_receipt_for_each_file_and_can_be_searched(any_page: Page, folder: Path) -> None:
    any_page.get_by_role("link", name="Add").click()
    any_page.set_input_files("#folder", folder)
    any_page.wait_for_selector(".progress-text:has-text('Done: 4 photographs added.')")
    any_page.wait_for_selector(".note:has-text('1 file is not a photograph')")
    receipts = any_page.locator(".receipt").all_inner_texts()
    assert sum("Added" in text for text in receipts) == 4
    assert sum("bad.jpg is not a photograph that can be read." in text for text in receipts) == 1
    any_page.locator(".add .chip", has_text="Not added 1").click()
    eventually(any_page, "document.querySelectorAll('.receipt').length === 1")
    any_page.get_by_role("button", name="Search now").click()
    assert search(any_page, photograph(43, 0))[0] == "holiday/rome/d.jpg"
    any_page.locator(f"{HITS} .open").first.click()
    assert "holiday/rome" in any_page.get_by_role("dialog").locator("dl").inner_text()


def test_files_that_are_there_already_are_not_sent_again(page: Page, folder: Path) -> None:
    (folder / "bad.jpg").unlink()
    page.get_by_role("link", name="Add").click()
    page.set_input_files("#folder", folder)
    page.wait_for_selector(".progress-text:has-text('Done: 4 photographs')")
    page.reload()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.set_input_files("#folder", folder)
    page.wait_for_selector(".chip:has-text('Already there 4')")
    assert not [url for url in sent if "/index" in url]


def test_one_dropped_photograph_is_added_in_the_view_for_adding(page: Page, services: LocalServices) -> None:
    page.get_by_role("link", name="Add").click()
    transfer(page, "drop", [("a.jpg", photograph(40, 0)), ("text.txt", b"text")])
    page.wait_for_selector(".progress-text:has-text('Done: 1 photograph added.')")
    ids = page.evaluate("async () => (await (await fetch('/images?limit=1&order=newest')).json()).images[0].id")
    assert ids == "a.jpg"
    delete(services, ["a.jpg"])


def test_a_single_photograph_does_not_replace_another_of_its_name(page: Page, services: LocalServices) -> None:
    page.get_by_role("link", name="Add").click()
    for number, group in enumerate(["Added 1", "Added 1", "Already there 1"]):
        transfer(page, "drop", [("image.jpg", photograph(52 + number % 2, 0))])
        page.wait_for_selector(f".chip:has-text('{group}')")
        page.get_by_role("button", name="Clear the list").click()
    listed = page.evaluate("async () => (await (await fetch('/images?limit=2&order=newest')).json()).images")
    assert [image["id"] for image in listed] == ["image (2).jpg", "image.jpg"]
    delete(services, ["image.jpg", "image (2).jpg"])


def test_what_is_left_of_a_closed_page_is_sent_by_one_tab(open_page: OpenPage, folder: Path) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    first = open_page()
    first.context.route("**/index?**", hold)
    first.get_by_role("link", name="Add").click()
    first.set_input_files("#folder", folder)
    first.wait_for_selector(".progress-text:has-text('0 of 5')")
    second, third = first.context.new_page(), first.context.new_page()
    second.goto(first.url)
    third.goto(first.url)
    first.context.unroute("**/index?**")
    sent: list[str] = []
    first.context.on("request", lambda request: sent.append(request.url))
    first.close()
    eventually(
        second,
        """async () => {
            const ids = ["a.jpg", "b.jpg", "c.jpg", "rome/d.jpg"].map(name => encodeURIComponent(`holiday/${name}`));
            const answers = await Promise.all(ids.map(id => fetch(`/images?id=${id}`)));
            return answers.every(answer => answer.ok);
        }""",
    )
    assert len(held) == len([url for url in sent if "/index?" in url]) == 1


def test_several_dropped_files_are_added_from_any_view(page: Page, services: LocalServices) -> None:
    transfer(page, "drop", [("x1.jpg", photograph(50, 0)), ("x2.jpg", photograph(51, 0))])
    page.wait_for_selector(".progress-text:has-text('Done: 2 photographs added.')")
    delete(services, ["x1.jpg", "x2.jpg"])


def test_adding_pauses_and_resumes_also_after_the_page_was_closed(page: Page, folder: Path) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.context.route("**/index?**", hold)
    page.get_by_role("link", name="Add").click()
    page.set_input_files("#folder", folder)
    page.wait_for_selector(".progress-text:has-text('0 of 5')")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    eventually(
        page,
        """() => new Promise(resolve => {
            const opened = indexedDB.open("aff");
            opened.onsuccess = () => {
                const counted = opened.result.transaction("uploads").objectStore("uploads").count();
                counted.onsuccess = () => resolve(counted.result === 5);
            };
        })""",
    )
    address = page.url
    page.close()
    again = page.context.new_page()
    page.context.unroute("**/index?**")
    again.goto(address)
    again.wait_for_selector(".progress-text:has-text('Done: 4 photographs added.')")
    assert held


def test_an_indexer_that_stops_is_waited_for(page: Page, folder: Path) -> None:
    page.route("**/index?**", lambda route: route.abort())
    page.get_by_role("link", name="Add").click()
    page.set_input_files("#folder", folder)
    page.wait_for_selector(".notice:has-text('No answer from the indexer')")
    page.wait_for_selector(".notice:has-text('Nothing is lost.')")
    page.unroute("**/index?**")
    page.wait_for_selector(".progress-text:has-text('Done: 4 photographs added.')")
