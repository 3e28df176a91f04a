from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from aff_shared.bundles.bundle import describe_imported_space, write_manifest
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem
from tests.support.query_service import QueryService, colour_gallery
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding

pytestmark = pytest.mark.anyio


async def test_the_encoder_is_described_as_a_device_needs_it(client: httpx.AsyncClient, service: QueryService) -> None:
    described = (await client.get("/encoder")).json()
    manifest = service.manifest
    assert described["fingerprint"] == manifest.fingerprint
    assert described["space"] == manifest.space.model_dump()
    assert described["preprocessing"] == manifest.query_encoder.preprocessing.model_dump()
    assert described["serving"] == "fp32"
    (graph,) = described["files"]
    content = (service.settings.bundle_path / manifest.query_encoder.model).read_bytes()
    assert (graph["precision"], graph["size_bytes"]) == ("fp32", len(content))
    assert graph["sha256"] == hashlib.sha256(content).hexdigest()


async def test_the_description_is_sent_again_only_if_it_changed(client: httpx.AsyncClient) -> None:
    first = await client.get("/encoder")
    assert "no-cache" in first.headers["cache-control"]
    again = await client.get("/encoder", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = await client.get("/encoder", headers={"if-none-match": '"another"'})
    assert (other.status_code, other.json()) == (200, first.json())


async def test_without_a_query_encoder_photographs_are_rejected_and_embeddings_are_searched(
    service: QueryService, tmp_path: Path
) -> None:
    directory = tmp_path / "bundles" / "clip"
    directory.mkdir(parents=True)
    imported = describe_imported_space(directory, "clip", DIMENSION)
    write_manifest(directory, imported)
    gallery = await colour_gallery(imported.space)
    settings = service.settings.model_copy(update={"bundle_path": directory})
    async with replace(service, settings=settings).running(gallery) as client:
        ready = (await client.get("/readyz")).json()
        assert (ready["bundle"], ready["fingerprint"]) == ("clip", imported.fingerprint)
        for request in (
            client.post("/search", files={"image": plain_png((255, 0, 0))}),
            client.post("/search/batch", files={"image": plain_png((255, 0, 0))}),
            client.get("/encoder"),
            client.get("/encoder/model.onnx"),
        ):
            require_problem(await request, 409, "encoder_missing", item="clip")
        body = {"embedding": tiny_embedding((255, 0, 0)).tolist(), "fingerprint": imported.fingerprint}
        for response in (
            await client.post("/search/embedding", json=body),
            await client.post("/search/similar?id=red"),
        ):
            assert response.status_code == 200
        assert (await client.post("/search/embedding", json=body)).json()["hits"][0]["id"] == "red"
        body["fingerprint"] = service.manifest.fingerprint
        require_problem(await client.post("/search/embedding", json=body), 409, "encoder_mismatch", item="fingerprint")
        assert (await client.get("/images")).json()["total"] == 4


async def test_a_graph_that_is_named_by_its_content_may_be_kept_for_ever_and_runs(client: httpx.AsyncClient) -> None:
    (graph,) = (await client.get("/encoder")).json()["files"]
    response = await client.get(graph["url"])
    assert response.status_code == 200
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["etag"] == f'"{graph["sha256"]}"'
    session = onnxruntime.InferenceSession(response.content, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    red = np.full((1, size, size, 3), (255, 0, 0), np.uint8)
    (embedding,) = session.run(["embedding"], {"image": red})
    np.testing.assert_allclose(embedding[0], tiny_embedding((255, 0, 0)), atol=1e-5)


async def test_the_current_graph_has_to_be_revalidated(client: httpx.AsyncClient) -> None:
    response = await client.get("/encoder/model.onnx")
    assert "no-cache" in response.headers["cache-control"]
    again = await client.get("/encoder/model.onnx", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for named in ("*", f"W/{response.headers['etag']}", f'"another", {response.headers["etag"]}'):
        assert (await client.get("/encoder/model.onnx", headers={"if-none-match": named})).status_code == 304
    head = await client.head("/encoder/model.onnx")
    assert (head.headers["content-length"], head.headers["etag"]) == (
        response.headers["content-length"],
        response.headers["etag"],
    )
    other = await client.get("/encoder/model.onnx", headers={"if-none-match": '"another"'})
    assert other.content == response.content


async def test_a_part_of_a_graph_may_be_requested(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/encoder/model.onnx")).content
    part = await client.get("/encoder/model.onnx", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    beyond = await client.get("/encoder/model.onnx", headers={"range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    changed = await client.get("/encoder/model.onnx", headers={"range": "bytes=10-19", "if-range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole)


async def test_a_graph_that_the_encoder_does_not_have_is_reported_as_missing(client: httpx.AsyncClient) -> None:
    for parameters, item in (({"precision": "int8"}, "precision"), ({"sha256": "0" * 64}, "sha256")):
        response = await client.get("/encoder/model.onnx", params=parameters)
        require_problem(response, 404, "encoder_file_not_found", item)
    response = await client.get("/encoder/model.onnx", params={"precision": "int4"})
    require_problem(response, 422, "parameter_invalid", "precision")


async def test_a_gallery_image_is_described(client: httpx.AsyncClient) -> None:
    image = (await client.get("/images/red")).json()
    assert (image["id"], image["payload"]) == ("red", {"warm": True})
    require_problem(await client.get("/images/nobody"), 404, "image_not_found", "nobody")


async def test_a_thumbnail_is_given_and_named_by_its_content(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/images/red/thumbnail")
    assert (response.content, response.headers["content-type"]) == (b"RIFF....WEBP", "image/webp")
    again = await client.get("/images/red/thumbnail", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304
    require_problem(await client.get("/images/blue/thumbnail"), 404, "image_not_found", "blue")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/page/app.js",
        "/page/icon-192.png",
        "/healthz",
        "/readyz",
        "/metrics",
        "/encoder",
        "/encoder/model.onnx",
        "/images/red",
        "/images/red/thumbnail",
        "/images/nobody",
    ],
)
async def test_head_has_the_headers_of_get_and_no_body(client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # they changed meanwhile
        assert int(head.headers["content-length"]) == int(get.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "path", ["/search", "/search/batch", "/search/embedding", "/search/similar", "/encoder", "/readyz"]
)
async def test_a_slash_at_the_end_changes_nothing(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        without, response = await client.request(method, path), await client.request(method, f"{path}/")
        assert (response.status_code, response.headers.get("allow")) == (
            without.status_code,
            without.headers.get("allow"),
        )
        assert response.text == without.text
