from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aff_toolkit.local.local_service import LocalServices
from tests.browser.conftest import SCENES, VIEWS, OpenPage, photograph
from tests.browser.steps import (
    HITS,
    answer_search,
    choose,
    eventually,
    fail_search,
    hit_ids,
    ids_of,
    parameter,
    pick,
    search,
    transfer,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

LOADED = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"


def test_a_chosen_photograph_finds_its_like_with_sharp_thumbnails(any_page: Page) -> None:
    ids = search(any_page, photograph(3, 0))
    assert ids[0].startswith("scene 3/")
    assert len(ids) == 48
    assert any_page.inner_text("#results") == "48 photographs"
    assert any_page.locator(HITS).first.locator("img").evaluate(LOADED) == [320, 240]
    any_page.get_by_role("button", name="Show more").click()
    any_page.wait_for_selector(f"#results:has-text('{SCENES * VIEWS} photographs')")
    assert ids_of(any_page.locator(HITS))[:48] == ids


@pytest.mark.parametrize("event", ["drop", "paste"])
@pytest.mark.parametrize("path", ["/", "/#gallery"])
def test_a_photograph_may_be_dropped_or_pasted_anywhere(open_page: OpenPage, event: str, path: str) -> None:
    page = open_page(path=path)
    page.wait_for_selector(".tile")
    transfer(page, event, [("one.jpg", photograph(1, 0))])
    assert hit_ids(page)[0].startswith("scene 1/")
    assert page.inner_text(".query-name") == "one.jpg"


def test_the_start_shows_the_latest_photographs_and_each_begins_a_search(any_page: Page) -> None:
    any_page.wait_for_selector(".start .tile")
    newest = any_page.evaluate("async () => (await (await fetch('/images?order=newest&limit=1')).json()).images[0].id")
    assert ids_of(any_page.locator(".start .tile"))[0] == newest
    any_page.locator(".start .tile .open").first.click()
    assert hit_ids(any_page)[0].startswith(f"{newest.split('/')[0]}/")
    assert "similar=scene" in any_page.url


def test_hits_have_the_proportions_of_their_photographs(page: Page) -> None:
    answer_search(
        page, *({"id": f"{number}", "score": 0.5, "width": 100 * number, "height": 200} for number in (1, 2, 4))
    )
    choose(page, photograph(0, 0))
    page.wait_for_selector(HITS)
    boxes = [tile.bounding_box() for tile in page.locator(f"{HITS} .open").all()]
    shown = [box["width"] / box["height"] for box in boxes if box]
    assert shown == pytest.approx([0.5, 1, 2], rel=0.02)
    assert len({round(box["height"]) for box in boxes if box}) == 1


def test_strength_is_a_word_and_weak_hits_are_folded(page: Page) -> None:
    strengths = [("same", 0.9), ("same", 0.8), ("likely", 0.7), ("likely", 0.6), ("weak", 0.2)]
    answer_search(page, *({"id": f"{score}", "score": score, "strength": word} for word, score in strengths))
    choose(page, photograph(0, 0))
    page.wait_for_selector(HITS)
    assert page.inner_text("#results") == "5 photographs, 2 show the same"
    assert page.locator(".word:visible").all_inner_texts() == ["Same", "Same", "Likely", "Likely"]
    assert page.locator(f"{HITS}:visible").count() == 4
    page.click("text=1 less similar")
    assert page.locator(f"{HITS}:visible").count() == 5


def test_weak_hits_are_shown_where_there_are_few_others(page: Page) -> None:
    answer_search(
        page, *({"id": word, "score": score, "strength": word} for word, score in (("same", 0.9), ("weak", 0.2)))
    )
    choose(page, photograph(0, 0))
    page.wait_for_selector(HITS)
    assert page.locator(".word:visible").all_inner_texts() == ["Same", "Weak"]


def test_without_calibration_there_is_a_bar_and_no_word(page: Page) -> None:
    answer_search(page, {"id": "one", "score": 0.4})
    choose(page, photograph(0, 0))
    page.wait_for_selector(HITS)
    assert page.locator(".word").count() == 0
    assert page.locator(".caption .bar").evaluate("bar => bar.style.getPropertyValue('--score')") == "0.400"


def test_the_photograph_stays_beside_the_hits(page: Page) -> None:
    search(page, photograph(2, 0))
    page.mouse.wheel(0, 600)
    eventually(page, "scrollY > 300")
    box = page.locator(".stage").bounding_box()
    assert box is not None
    assert box["y"] > 0


def test_on_a_phone_the_photograph_is_a_strip_and_hits_are_in_view(open_page: OpenPage) -> None:
    page = open_page("phone")
    search(page, photograph(2, 0))
    strip, first = page.locator(".panel").bounding_box(), page.locator(HITS).nth(1).bounding_box()
    assert strip is not None
    assert first is not None
    assert strip["height"] < 100
    assert first["y"] + first["height"] < 500
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_part_is_drawn_moved_and_resized_with_the_pointer(any_page: Page) -> None:
    search(any_page, photograph(2, 0))
    if any_page.viewport_size == {"width": 360, "height": 740}:
        any_page.locator(".stage").click()
    box = any_page.locator(".stage img").bounding_box()
    assert box is not None
    scale = box["width"] / 320

    def drag(start: tuple[int, int], end: tuple[int, int]) -> list[float]:
        with any_page.expect_request("**/search?**") as sent:
            any_page.mouse.move(box["x"] + start[0] * scale, box["y"] + start[1] * scale)
            any_page.mouse.down()
            any_page.mouse.move(box["x"] + end[0] * scale, box["y"] + end[1] * scale, steps=3)
            any_page.mouse.up()
        return [float(edge) for edge in (parameter(sent.value, "crop") or "").split(",")]

    assert drag((40, 30), (200, 150)) == pytest.approx([40, 30, 200, 150], abs=2)
    assert drag((120, 90), (140, 110)) == pytest.approx([60, 50, 220, 170], abs=3)
    assert drag((220, 170), (240, 200)) == pytest.approx([60, 50, 240, 200], abs=3)
    assert drag((60, 125), (30, 125)) == pytest.approx([30, 50, 240, 200], abs=3)
    with any_page.expect_request("**/search?**") as sent:
        any_page.get_by_role("button", name="Whole photograph").click()
    assert parameter(sent.value, "crop") is None


def test_a_part_is_moved_and_resized_with_the_keyboard(page: Page) -> None:
    search(page, photograph(2, 0))
    with page.expect_request("**/search?**") as sent:
        page.get_by_role("button", name="Select a part").press("Enter")
    assert parameter(sent.value, "crop") == "64,48,256,192"
    with page.expect_request("**/search?**") as sent:
        for key in ("ArrowRight", "ArrowUp", "Shift+ArrowLeft"):
            page.keyboard.press(key)
    assert parameter(sent.value, "crop") == "70,42,256,186"
    with page.expect_request("**/search?**") as sent:
        page.keyboard.press("Escape")
    assert parameter(sent.value, "crop") is None


def test_chips_filter_by_what_the_payloads_hold(any_page: Page) -> None:
    search(any_page, photograph(5, 0))
    pick(any_page, "Folder", "scene 2")
    any_page.wait_for_selector(f"#results:has-text('{VIEWS} photographs')")
    any_page.locator("details[open] .options label", has_text="scene 4").click()
    any_page.wait_for_selector(f"#results:has-text('{2 * VIEWS} photographs')")
    assert {name.split("/")[0] for name in ids_of(any_page.locator(HITS))} == {"scene 2", "scene 4"}
    any_page.keyboard.press("Escape")
    assert any_page.locator("summary", has_text="Folder: scene 2, scene 4").is_visible()
    any_page.get_by_role("button", name="Clear filters").click()
    any_page.wait_for_selector("#results:has-text('48 photographs')")
    pick(any_page, "Year", "2021")
    any_page.wait_for_selector(f"#results:has-text('{SCENES // 2 * VIEWS} photographs')")


def test_results_may_be_reduced_to_one_per_folder(page: Page) -> None:
    search(page, photograph(5, 0))
    pick(page, "All results", "One per Folder")
    page.wait_for_selector(f"#results:has-text('{SCENES} photographs')")
    assert len({name.split("/")[0] for name in ids_of(page.locator(HITS))}) == SCENES


def test_without_a_match_for_the_filters_the_page_offers_to_clear_them(page: Page) -> None:
    search(page, photograph(0, 0))
    answer_search(page)
    pick(page, "Folder", "scene 1")
    page.wait_for_selector(".notice:has-text('No photograph matches these filters')")
    page.unroute("**/search?**")
    page.locator(".notice").get_by_role("button", name="Clear filters").click()
    hit_ids(page)


def test_more_like_this_and_the_way_back(page: Page) -> None:
    before = search(page, photograph(4, 0))
    page.locator(HITS).nth(3).locator(".open").click()
    page.get_by_role("button", name="More like this").click()
    page.wait_for_selector(f".query-name:has-text('{before[3]}')")
    assert before[3] not in hit_ids(page)
    page.reload()
    assert before[3] not in hit_ids(page)
    page.go_back()
    page.wait_for_selector("dialog[open]")
    page.go_back()
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert hit_ids(page) == before


def test_a_reloaded_page_searches_again_with_the_same_photograph(page: Page) -> None:
    before = search(page, photograph(4, 0))
    page.reload()
    assert hit_ids(page) == before
    assert page.inner_text(".query-name") == "photograph.jpg"


def test_a_wrong_file_is_named_with_the_next_step(any_page: Page) -> None:
    choose(any_page, b"Dear diary", "diary.txt", "text/plain")
    any_page.wait_for_selector(".notice:has-text('“diary.txt” is not a photograph that can be read')")
    assert any_page.get_by_role("button", name="Select a part").is_hidden()
    with any_page.expect_file_chooser() as chooser:
        any_page.get_by_role("button", name="Choose another photograph").click()
    chooser.value.set_files({"name": "scene.jpg", "mimeType": "image/jpeg", "buffer": photograph(0, 0)})
    assert hit_ids(any_page)[0].startswith("scene 0/")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (413, "image_too_many_bytes", "“photograph.jpg” is too large. Choose a smaller version"),
        (503, "store_unavailable", "The gallery is not ready: detail. Try again"),
        (500, "internal", "That did not work: Title. detail"),
    ],
)
def test_each_failure_has_its_sentence(page: Page, status: int, code: str, sentence: str) -> None:
    fail_search(page, status, code)
    choose(page, photograph(0, 0))
    page.wait_for_selector(f".notice[role=alert]:has-text('{sentence}')")


def test_without_an_answer_the_page_offers_to_try_again(page: Page) -> None:
    page.route("**/search?**", lambda route: route.abort())
    choose(page, photograph(0, 0))
    page.wait_for_selector(".notice:has-text('No answer from the search service')")
    page.context.set_offline(True)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".notice:has-text('You are offline')")
    page.context.set_offline(False)
    page.unroute("**/search?**")
    page.get_by_role("button", name="Try again").click()
    hit_ids(page)


def test_an_overloaded_service_is_tried_again_by_itself(page: Page) -> None:
    fail_search(page, 429, "service_overloaded", **{"Retry-After": "1"})
    choose(page, photograph(0, 0))
    page.wait_for_selector(".notice:has-text('Too many requests at the moment. Try again in 1 s')")
    page.unroute("**/search?**")
    hit_ids(page)
    assert page.locator(".notice").count() == 0


def test_an_image_that_is_gone_is_reported(open_page: OpenPage) -> None:
    page = open_page(path="/?similar=nothing.jpg")
    page.wait_for_selector(".notice:has-text('“nothing.jpg” is no longer in the gallery')")
    page.locator(".notice").get_by_role("button", name="New search").click()
    page.wait_for_selector(".start .tile")


def test_text_of_a_payload_is_never_markup(page: Page) -> None:
    answer_search(page, {"id": "<b>x</b>", "score": 0.5, "payload": {"<i>k</i>": "<img src=x onerror=alert(1)>"}})
    choose(page, photograph(0, 0))
    page.wait_for_selector(f"{HITS} .missing")
    assert page.locator(".query-name").inner_text() == "photograph.jpg"
    assert page.locator(".caption .name").get_attribute("title") == "<b>x</b>"
    assert page.locator(".caption b").count() == 0
    page.locator(f"{HITS} .open").click()
    page.wait_for_selector("dd:has-text('<img src=x onerror=alert(1)>')")


def test_integers_of_64_bits_stay_exact(page: Page) -> None:
    body = '{"hits": [{"id": "a", "score": 0.5, "payload": {"n": 9007199254740993}, "width": 1, "height": 1}]}'
    page.route("**/search?**", lambda route: route.fulfill(body=body, content_type="application/json"))
    choose(page, photograph(0, 0))
    page.wait_for_selector(HITS)
    page.locator(f"{HITS} .open").click()
    page.wait_for_selector("dd:has-text('9007199254740993')")


def test_a_photograph_that_another_app_shares_is_searched_with(open_page: OpenPage, services: LocalServices) -> None:
    page = open_page(service_workers="allow")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.reload()
    eventually(page, "navigator.serviceWorker.controller !== null")
    page.evaluate(
        """data => {
            const form = document.createElement("form"), field = document.createElement("input");
            Object.assign(form, {method: "post", enctype: "multipart/form-data", action: "./share"});
            Object.assign(field, {type: "file", name: "photograph"});
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(data)], "shared.jpg", {type: "image/jpeg"}));
            field.files = transfer.files;
            form.append(field);
            document.body.append(form);
            form.submit();
        }""",
        list(photograph(6, 0)),
    )
    page.wait_for_selector(".query-name:has-text('shared.jpg')")
    assert hit_ids(page)[0].startswith("scene 6/")
    manifest = page.request.get(f"{services.query_url}/page/manifest.webmanifest").json()
    assert manifest["share_target"]["action"] == "../share"
    assert json.dumps(manifest["share_target"]["params"]["files"]) == '[{"name": "photograph", "accept": ["image/*"]}]'
