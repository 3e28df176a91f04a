"""The page's modules, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from aff_shared.schemas.indexing import ReceiptStatus
from query_api.http import page_files

RunScript = Callable[[str], Any]

_LARGE = 1610521604143693813


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    """Run a script with the page's modules; returns what it passes to `report`; integers of any size are exact."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js: apt-get install nodejs")
    for module in (Path(page_files.__file__).parents[1] / "page").glob("*.js"):
        (tmp_path / module.name).write_bytes(module.read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')

    def run(script: str) -> Any:
        stub = "globalThis.document = { getElementById: () => null };\nglobalThis.navigator ??= { language: 'en' };\n"
        stub += "const report = (text) => console.log(text);\n"
        (tmp_path / "script.js").write_text(stub + script)
        ended = subprocess.run(
            [node, "script.js"], cwd=tmp_path, capture_output=True, check=False, timeout=60, encoding="utf-8"
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def test_integers_of_64_bits_are_preserved(run_script: RunScript) -> None:
    document = {
        "large": _LARGE,
        "bounds": [-(2**63), 2**63 - 1, 2**53, 2**53 - 1, -7, 0],
        "fractions": [0.1, -2.5e-300, 1e22],
        "texts": [str(_LARGE), f'a "{_LARGE}" \\', "\\", "{1610521604143693813}"],
        f"key {_LARGE}": [True, None, {"deep": [_LARGE]}],
    }
    script = f"""
        import {{ parse, stringify }} from "./exact_json.js";
        report(stringify(parse({json.dumps(json.dumps(document))})));
    """
    assert run_script(script) == document


def test_a_payload_shows_its_integer(run_script: RunScript) -> None:
    script = f"""
        import {{ parse, stringify }} from "./exact_json.js";
        report(JSON.stringify(stringify(parse('{{"n": {_LARGE}}}').n)));
    """
    assert run_script(script) == str(_LARGE)


def test_several_values_of_a_key_are_one_condition_of_the_filter(run_script: RunScript) -> None:
    script = f"""
        import {{ parse, stringify }} from "./exact_json.js";
        const {{ toFilter }} = await import("./filter_chips.js");
        const text = '[{{"match": {_LARGE}}}, {{"match": 12}}, {{"key": "city", "match": "Paris"}}]';
        const [year, other, city] = parse(text);
        const chosen = [["n", year], ["city", city], ["n", other]].map(([key, condition]) => ({{ key, condition }}));
        report(stringify([toFilter(chosen), toFilter([])]));
    """
    several, none = run_script(script)
    assert several == {"must": [{"key": "n", "any_of": [_LARGE, 12]}, {"key": "city", "match": "Paris"}]}
    assert none is None


def test_every_id_is_sent_in_the_query(run_script: RunScript) -> None:
    item_id = "https://example.org/a b/../?é&#\\.jpg/thumbnail"
    encoded = "https%3A%2F%2Fexample.org%2Fa+b%2F..%2F%3F%C3%A9%26%23%5C.jpg%2Fthumbnail"
    script = f"""
        const requested = [];
        globalThis.fetch = async (url) => {{ requested.push(url); return new Response("{{}}"); }};
        const {{ searchSimilar, thumbnailUrl }} = await import("./api.js");
        const filter = {{ must: [{{ key: "k", match: {_LARGE}n }}] }};
        await searchSimilar({json.dumps(item_id)}, {{ limit: 3, filter }});
        const urls = [...requested, thumbnailUrl({json.dumps(item_id)})];
        report(JSON.stringify(urls.map((url) => url.split("//").at(-1))));
    """
    similar, thumbnail = run_script(script)
    assert similar.split("/search/similar?")[1] == (
        f"id={encoded}&limit=3&filter=%7B%22must%22%3A%5B%7B%22key%22%3A%22k%22%2C%22match%22%3A{_LARGE}%7D%5D%7D"
    )
    assert thumbnail.split("/thumbnails?")[1] == f"id={encoded}"


# A browser with an indexer; `respond` of a test answers `POST /index` with the ids of its files.
_BROWSER = """
    globalThis.window = new EventTarget();
    globalThis.location = { href: "http://query/", protocol: "http:" };
    globalThis.sessionStorage = { getItem: () => null };
    const json = (document, status = 200) => new Response(JSON.stringify(document), { status });
    const requests = [];
    globalThis.fetch = async (address, { body } = {}) => {
        const url = String(address);
        if (url.endsWith("/page/config.json")) return json({ indexer: "http://indexer" });
        if (url.endsWith("/images/lookup")) return json({ up_to_date: [] });
        const ids = JSON.parse(body.get("items")).map(({ id }) => id);
        requests.push(ids);
        return respond(ids);
    };
    const receipt = (id, index) => JSON.stringify({ receipt: { index, id, status: "indexed" } }) + "\\n";
    const receipts = (ids) => new Response(ids.map(receipt).join(""));
    const { UploadQueue } = await import("./upload_queue.js");
    const queue = new UploadQueue();
    const file = (content) => new File([content], "photograph.jpg", { lastModified: content.length });
    const states = () => Object.fromEntries([...queue.items.values()].map(({ id, status }) => [id, status]));
    const settled = async () => {
        do await new Promise((resolve) => setTimeout(resolve, 5));
        while (queue.isBusy);
    };
"""


def test_the_page_shows_every_status_of_receipts(run_script: RunScript) -> None:
    script = f"""
        const respond = null;
        {_BROWSER}
        const {{ STATUSES }} = await import("./upload_queue.js");
        const {{ t }} = await import("./texts.js");
        const shown = Object.entries(STATUSES).filter(([name]) => name !== "waiting" && t(`status_${{name}}`));
        const groups = Object.values(STATUSES).filter(({{ group }}) => group && !t(`group_${{group}}`));
        report(JSON.stringify([shown.map(([name]) => name), groups.length]));
    """
    shown, without_name = run_script(script)
    assert set(get_args(ReceiptStatus)) == set(shown) - {"sending", "lost"}
    assert without_name == 0


def test_a_file_that_fails_a_request_does_not_fail_the_other_files(run_script: RunScript) -> None:
    script = f"""
        const respond = (ids) => (ids.includes("bad") ? json({{ code: "items_invalid" }}, 422) : receipts(ids));
        {_BROWSER}
        await queue.add(["a", "bad", "c"].map((id) => ({{ id, file: file(id) }})));
        await settled();
        report(JSON.stringify([states(), requests]));
        process.exit();
    """
    states, requests = run_script(script)
    assert states == {"a": "indexed", "bad": "rejected", "c": "indexed"}
    assert requests[0] == ["a", "bad", "c"]
    assert all(len(one) == 1 for one in requests[1:])


@pytest.mark.parametrize("response", ["new Response('<html>', { status: 502 })", "receipts(ids.slice(1))"])
def test_files_wait_while_a_proxy_reports_that_the_indexer_is_away(run_script: RunScript, response: str) -> None:
    script = f"""
        const respond = (ids) => {response};
        {_BROWSER}
        await queue.add([{{ id: "a", file: file("a") }}]);
        await settled();
        queue.pause();
        window.dispatchEvent(new Event("online"));
        report(JSON.stringify([states(), queue.problem.code, queue.paused, requests.length]));
        process.exit();
    """
    states, problem, paused, requests = run_script(script)
    assert states == {"a": "waiting"}
    assert problem in {"unexpected", "unreachable"}
    assert paused is True
    assert requests == 1


def test_two_waiting_files_of_one_name_are_both_added(run_script: RunScript) -> None:
    script = f"""
        const respond = (ids) => receipts(ids);
        {_BROWSER}
        const first = file("one");
        await queue.add([first, file("other"), first].map((file) => ({{ id: "day.1/image.jpg", file }})));
        await settled();
        report(JSON.stringify([states(), requests]));
        process.exit();
    """
    states, requests = run_script(script)
    assert states == {"day.1/image.jpg": "indexed", "day.1/image (2).jpg": "indexed"}
    assert requests == [["day.1/image.jpg", "day.1/image (2).jpg"]]


@pytest.mark.parametrize(("status", "code", "left"), [(401, "key_missing", True), (404, "image_not_found", False)])
def test_an_unfinished_deletion_is_kept_until_the_service_answers(
    run_script: RunScript, status: int, code: str, left: bool
) -> None:
    script = f"""
        globalThis.window = new EventTarget();
        const kept = {{ aff_deletions: JSON.stringify([{{ ids: ["a"], at: 1 }}]) }};
        globalThis.localStorage = {{
            getItem: (name) => kept[name] ?? null,
            setItem: (name, value) => {{ kept[name] = value; }},
            removeItem: (name) => {{ delete kept[name]; }},
        }};
        globalThis.fetch = async () => new Response('{{"code": "{code}"}}', {{ status: {status} }});
        const {{ finishDeletions, keep }} = await import("./deletions.js");
        await finishDeletions();
        keep(["another"]);
        report(JSON.stringify(JSON.parse(kept.aff_deletions ?? "[]")));
    """
    assert run_script(script) == ([{"ids": ["a"], "at": 1}] if left else [])
