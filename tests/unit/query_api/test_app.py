from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import minisign
import pytest

from aff_shared.errors import (
    BundleFormatError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundlePrecisionError,
    ListenError,
    StoreLockedError,
)
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.web.serving import ServedApp, serve
from query_api.app import create_app
from tests.support.detachable_gallery_store import DetachableGalleryStore
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.gallery_points import make_point, make_space
from tests.support.interruptible_gallery_store import InterruptibleGalleryStore
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem
from tests.support.query_service import QueryService, colour_gallery
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding, tiny_query_encoder

RED = plain_png((255, 0, 0))

pytestmark = pytest.mark.anyio


async def _search(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/search", files={"image": ("red.png", RED)})


async def test_an_answer_has_hits_timings_and_the_fingerprint_of_the_bundle(
    client: httpx.AsyncClient, service: QueryService
) -> None:
    answer = (await _search(client)).json()
    assert set(answer) == {"hits", "timings_ms", "fingerprint", "embedding"}
    assert set(answer["timings_ms"]) == {"decode", "encode", "search"}
    assert all(milliseconds > 0 for milliseconds in answer["timings_ms"].values())
    assert answer["fingerprint"] == service.manifest.fingerprint


async def test_a_started_service_is_ready_and_reports_name_and_fingerprint(
    service: QueryService, gallery: MemoryGalleryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with service.running(gallery) as client:
        response = await client.get("/readyz")
    fingerprint = service.manifest.fingerprint
    assert f"searches with bundle {service.manifest.name}, fingerprint {fingerprint[:12]}" in caplog.messages
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "bundle": service.manifest.name,
        "fingerprint": service.manifest.fingerprint,
    }


async def test_the_stages_of_a_search_are_in_the_metrics(service: QueryService, gallery: MemoryGalleryStore) -> None:
    async with service.running(gallery) as client:
        await _search(client)
        text = (await client.get("/metrics")).text
    for stage in ("decode", "encode", "search"):
        assert f'aff_search_stage_duration_seconds_count{{stage="{stage}"}} 1.0' in text


async def test_a_search_by_embedding_counts_in_the_stage_that_it_has_alone(
    service: QueryService, gallery: MemoryGalleryStore
) -> None:
    body = {"embedding": tiny_embedding((255, 0, 0)).tolist(), "fingerprint": service.manifest.fingerprint}
    async with service.running(gallery) as client:
        assert (await client.post("/search/embedding", json=body)).status_code == 200
        assert (await client.post("/search/similar/red")).status_code == 200
        text = (await client.get("/metrics")).text
    for stage, searches in (("decode", 0), ("encode", 0), ("search", 2)):
        assert f'aff_search_stage_duration_seconds_count{{stage="{stage}"}} {searches}.0' in text


async def test_without_a_gallery_the_service_waits_and_notices_when_it_is_made(service: QueryService) -> None:
    store = MemoryGalleryStore()
    async with service.running(store) as client:
        assert (await client.get("/healthz")).status_code == 200
        require_problem(await client.get("/readyz"), 503, "gallery_missing")
        require_problem(await _search(client), 503, "gallery_missing")
        await store.create(service.manifest.space)
        assert (await client.get("/readyz")).status_code == 200
        assert (await _search(client)).json()["hits"] == []


async def test_a_service_whose_store_is_away_starts_and_is_ready_once_it_is_back(service: QueryService) -> None:
    store = DetachableGalleryStore()
    await store.create(service.manifest.space)
    store.away = True
    async with service.running(store) as client:
        assert (await client.get("/healthz")).status_code == 200
        require_problem(await client.get("/readyz"), 503, "store_unavailable")
        require_problem(await _search(client), 503, "store_unavailable")
        store.away = False
        assert (await client.get("/readyz")).status_code == 200


async def test_a_gallery_of_another_space_is_not_searched_and_the_service_reports_the_cause(
    service: QueryService, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryGalleryStore()
    await store.create(make_space("another", dimension=DIMENSION))
    await store.upsert([make_point("red", tiny_embedding((255, 0, 0)))])
    async with service.running(store) as client:
        assert "not ready: the query encoder has embedding space" in caplog.text
        for response in (await client.get("/readyz"), await _search(client)):
            problem = require_problem(response, 503, "embedding_space_mismatch")
            assert "use the bundle that the gallery was indexed with" in problem["detail"]


async def test_a_gallery_that_is_switched_to_an_unknown_space_is_served_as_long_as_the_former_one_is_there(
    service: QueryService,
) -> None:
    catalogue = MemoryGalleryCatalogue(await colour_gallery(service.manifest.space))
    another = make_space("another", dimension=DIMENSION)
    async with service.running(catalogue) as client:
        await catalogue.create(another)
        await catalogue.switch(another.id)
        assert (await _search(client)).json()["hits"][0]["id"] == "red"
        require_problem(await client.get("/readyz"), 503, "embedding_space_mismatch")
        await catalogue.drop(service.manifest.space.id)
        require_problem(await _search(client), 503, "embedding_space_mismatch")


async def test_a_shared_store_is_not_closed_by_the_service(service: QueryService) -> None:
    store = InterruptibleGalleryStore()
    async with service.running(store):
        pass
    assert not store.closed


async def test_its_own_store_is_opened_and_closed_again(service: QueryService) -> None:
    indexing = await open_catalogue(service.settings.store)
    await indexing.create(service.manifest.space)
    await (await indexing.collection(service.manifest.space)).upsert([make_point("red", tiny_embedding((255, 0, 0)))])
    await indexing.close()
    for _ in range(2):
        async with service.running() as client:
            assert [hit["id"] for hit in (await _search(client)).json()["hits"]] == ["red"]


async def test_a_service_whose_store_another_process_holds_does_not_start(service: QueryService) -> None:
    holder = await open_catalogue(service.settings.store)
    with pytest.raises(StoreLockedError):
        async with service.running():
            pass
    await holder.close()


async def test_a_service_without_its_bundle_does_not_start(service: QueryService) -> None:
    (service.settings.bundle_path / "bundle.json").unlink()
    with pytest.raises(BundleNotFoundError, match=r"no readable bundle\.json"):
        async with service.running(MemoryGalleryStore()):
            pass


async def test_a_service_with_an_altered_encoder_does_not_start(service: QueryService) -> None:
    (service.settings.bundle_path / "query_encoder.onnx").write_bytes(b"another encoder")
    with pytest.raises(BundleIntegrityError, match=r"query_encoder\.onnx"):
        async with service.running(MemoryGalleryStore()):
            pass


async def test_a_service_that_requires_signed_bundles_does_not_start_with_another(service: QueryService) -> None:
    keys = minisign.KeyPair.generate()
    settings = service.settings.model_copy(update={"bundle_public_key": keys.public_key.to_base64().decode()})
    wary = dataclasses.replace(service, settings=settings)
    with pytest.raises(BundleNotFoundError, match="minisig"):
        async with wary.running(MemoryGalleryStore()):
            pass
    manifest = settings.bundle_path / "bundle.json"
    signature = keys.secret_key.sign(manifest.read_bytes(), trusted_comment="")
    manifest.with_name("bundle.json.minisig").write_bytes(bytes(signature))
    async with wary.running(MemoryGalleryStore()):
        pass


async def test_a_service_whose_encoder_is_no_onnx_model_does_not_start(service: QueryService) -> None:
    write_dummy_bundle(service.settings.bundle_path, dimension=DIMENSION)
    with pytest.raises(BundleFormatError, match="ONNX Runtime cannot load it"):
        async with service.running(MemoryGalleryStore()):
            pass


async def test_a_service_serves_the_precision_of_its_settings(service: QueryService) -> None:
    bundle = service.settings.bundle_path
    manifest = write_dummy_bundle(
        bundle,
        dimension=DIMENSION,
        query_encoder=tiny_query_encoder(),
        int8_query_encoder=tiny_query_encoder(step=0.25),
    )
    odd = plain_png((100, 255, 30))
    # The mean colours 0.39, 1 and 0.12 are 0.5, 1 and 0 in steps of a quarter.
    q, q_int8 = tiny_embedding((100, 255, 30)), tiny_embedding((127.5, 255, 0))
    store = MemoryGalleryStore()
    await store.create(manifest.space)
    await store.upsert([make_point("fp32", q), make_point("int8", q_int8)])
    for precision, nearest in (("auto", "int8"), ("int8", "int8"), ("fp32", "fp32")):
        settings = service.settings.model_copy(update={"precision": precision})
        async with QueryService(settings, manifest).running(store) as client:
            answer = (await client.post("/search", files={"image": ("odd.png", odd)})).json()
        assert answer["hits"][0]["id"] == nearest, precision
        assert answer["hits"][0]["score"] == pytest.approx(1.0, abs=1e-5)


async def test_a_service_that_is_to_serve_int8_does_not_start_without_it(service: QueryService) -> None:
    settings = service.settings.model_copy(update={"precision": "int8"})
    with pytest.raises(BundlePrecisionError, match="no int8 query encoder"):
        async with QueryService(settings, service.manifest).running(MemoryGalleryStore()):
            pass


async def test_a_service_starts_without_the_files_of_the_gallery_side(
    service: QueryService, gallery: MemoryGalleryStore
) -> None:
    (service.settings.bundle_path / "mixer.safetensors").unlink()
    async with service.running(gallery) as client:
        assert (await _search(client)).status_code == 200


async def test_both_forms_of_a_search_and_every_problem_are_documented(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    search = document["paths"]["/search"]["post"]
    assert set(search["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    form = search["requestBody"]["content"]["multipart/form-data"]["schema"]
    options = {parameter["name"]: parameter["schema"] for parameter in search["parameters"]}
    assert set(form["properties"]) == {"image", *options}
    assert set(options) == {
        "limit",
        "score_threshold",
        "filter",
        "crop",
        "group_by",
        "expand",
        "with_embedding",
    }
    assert options["limit"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert set(search["responses"]) == {
        "200",
        "400",
        "401",
        "403",
        "408",
        "409",
        "413",
        "415",
        "421",
        "422",
        "429",
        "431",
        "500",
        "503",
    }
    for code in ("gallery_missing", "embedding_space_mismatch", "store_unavailable"):
        assert f"`{code}`" in search["responses"]["503"]["description"]


async def test_a_search_that_finds_no_room_is_rejected_before_its_body_is_read(service: QueryService) -> None:
    settings = service.settings.model_copy(update={"max_active_searches": 1, "max_waiting_searches": 0})
    app = create_app(settings, MemoryGalleryCatalogue(await colour_gallery(service.manifest.space)))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        queue = app.state.components.queue
        async with queue.place():
            response = await client.post("/search", content=unread())
            require_problem(response, 429, "service_overloaded")
            assert response.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200
        assert (await _search(client)).status_code == 200
        assert "aff_search_overloads_total 1.0" in (await client.get("/metrics")).text


async def test_a_photograph_over_the_byte_budget_is_rejected_unread(
    service: QueryService,
) -> None:
    settings = service.settings.model_copy(update={"max_queued_bytes": 2 * len(RED) - 1})
    app = create_app(settings, MemoryGalleryCatalogue(await colour_gallery(service.manifest.space)))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def withheld() -> AsyncIterator[bytes]:
        yield RED[:-1]
        begun.set()
        await ended.wait()
        yield RED[-1:]

    headers = {"content-type": "image/png", "content-length": str(len(RED))}
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        held = asyncio.create_task(client.post("/search", content=withheld(), headers=headers))
        await begun.wait()
        require_problem(await client.post("/search", content=RED, headers=headers), 429, "service_overloaded")
        ended.set()
        assert (await held).status_code == 200
        assert (await client.post("/search", content=RED, headers=headers)).status_code == 200


async def test_a_port_that_is_taken_is_named_with_the_setting_that_chooses_another(service: QueryService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = service.settings.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(ListenError, match="AFF_QUERY_PORT"):
            await serve([ServedApp(create_app(settings), settings)])


@pytest.mark.parametrize("keys", ["abc", '[{"name": "a", "sha256": "x", "scopes": ["search"]}]'])
def test_invalid_keys_end_the_start_with_one_line(keys: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "query_api"],
        env={**os.environ, "AFF_ACCESS_KEYS": keys},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "keys" in line
