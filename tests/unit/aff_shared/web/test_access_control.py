"""Responses of a service to requests with and without keys, over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel

from aff_shared.errors import AccessSettingsError, RateLimitedError
from aff_shared.web.access_control import RateLimit
from aff_shared.web.routing import scoped_router
from aff_shared.web.service import create_service
from aff_shared.web.settings import AccessKey, AccessSettings, ListenSettings, Scope
from tests.support.problems import require_problem

pytestmark = pytest.mark.anyio

SEARCHER, ADMINISTRATOR = "a searcher's key", "an administrator's key"


def _key(name: str, key: str, *scopes: str, per_minute: int | None = None) -> AccessKey:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return AccessKey.model_validate(
        {"name": name, "sha256": digest, "scopes": scopes, "requests_per_minute": per_minute}
    )


KEYS = (_key("searcher", SEARCHER, "search"), _key("administrator", ADMINISTRATOR, "search", "admin", "metrics"))


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


def _service(host: str = "127.0.0.1", **access: Any) -> FastAPI:
    listen = ListenSettings(host=host, port=0, max_body_bytes=1000, body_timeout_s=1.0, access=AccessSettings(**access))
    app = create_service(title="t", description="d", version="1", lifespan=_nothing, listen=listen)
    routers: dict[str, APIRouter] = {"search": scoped_router(Scope.SEARCH), "admin": scoped_router(Scope.ADMIN)}
    for name, router in routers.items():

        @router.post(f"/{name}", name=name)
        async def who(request: Request) -> dict[str, str | None]:
            return {"caller": request.state.caller}

        app.include_router(router)
    return app


async def _ask(app: FastAPI, path: str, key: str | None = None, method: str = "POST", **headers: str) -> httpx.Response:
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.request(method, path, headers=headers)


async def test_without_keys_this_machine_may_do_everything() -> None:
    app = _service()
    for path in ("/search", "/admin"):
        assert (await _ask(app, path)).json() == {"caller": None}
    assert (await _ask(app, "/metrics", method="GET")).status_code == 200


@pytest.mark.parametrize("listen", [{"host": "0.0.0.0"}, {"host": "::"}, {"published_host": "192.0.2.7"}])
def test_without_keys_a_service_that_others_reach_does_not_start(listen: dict[str, str]) -> None:
    with pytest.raises(AccessSettingsError, match="AFF_ACCESS_KEYS"):
        _service(**listen)


@pytest.mark.parametrize("listen", [{"host": "localhost"}, {"host": "::1"}, {"host": "127.0.0.2"}])
async def test_a_loopback_address_is_this_machine(listen: dict[str, str]) -> None:
    assert (await _ask(_service(**listen), "/admin")).status_code == 200


async def test_a_container_that_is_published_on_this_machine_alone_needs_no_keys() -> None:
    app = _service(host="0.0.0.0", published_host="127.0.0.1")
    assert (await _ask(app, "/admin")).status_code == 200


async def test_anonymous_scopes_can_be_set() -> None:
    app = _service(host="0.0.0.0", anonymous_scopes=("search",))
    assert (await _ask(app, "/search")).status_code == 200
    require_problem(await _ask(app, "/admin"), 401, "key_missing")


async def test_a_key_opens_what_it_is_for() -> None:
    app = _service(host="0.0.0.0", keys=KEYS)
    assert (await _ask(app, "/search", SEARCHER)).json() == {"caller": "searcher"}
    assert (await _ask(app, "/admin", ADMINISTRATOR)).json() == {"caller": "administrator"}
    assert (await _ask(app, "/search", Cookie=f"aff_key={SEARCHER.replace(' ', '%20')}")).status_code == 401
    require_problem(await _ask(app, "/admin", SEARCHER), 403, "scope_missing")


async def test_a_browser_sends_its_key_as_a_cookie() -> None:
    app = _service(keys=(_key("page", "0a1b", "search"),))
    assert (await _ask(app, "/search", Cookie="aff_key=0a1b")).json() == {"caller": "page"}


async def test_a_missing_key_and_a_wrong_key_have_different_errors() -> None:
    app = _service(keys=KEYS)
    missing, wrong = await _ask(app, "/search"), await _ask(app, "/search", "another")
    require_problem(missing, 401, "key_missing")
    require_problem(wrong, 401, "key_invalid")
    assert missing.headers["www-authenticate"] == "Bearer"
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_life_and_documents_need_no_key_and_figures_do() -> None:
    app = _service(keys=KEYS)
    for path in ("/healthz", "/openapi.json"):
        assert (await _ask(app, path, method="GET")).status_code == 200
    require_problem(await _ask(app, "/metrics", method="GET"), 401, "key_missing")
    assert (await _ask(app, "/metrics", ADMINISTRATOR, method="GET")).status_code == 200


async def test_a_rejected_body_is_not_read() -> None:
    app = _service(keys=KEYS)
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(3):
            read += 1
            yield b"x" * 300

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.post("/search", content=body())
    require_problem(answer, 401, "key_missing")
    assert read == 0


async def test_a_key_has_its_own_limit() -> None:
    app = _service(keys=(_key("slow", SEARCHER, "search", per_minute=2), _key("other", ADMINISTRATOR, "search")))
    statuses = [(await _ask(app, "/search", SEARCHER)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await _ask(app, "/search", SEARCHER)
    require_problem(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert (await _ask(app, "/search", ADMINISTRATOR)).status_code == 200


async def test_keys_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([KEYS[0].model_dump()]))
    app = _service(host="0.0.0.0", keys_file=path)
    assert (await _ask(app, "/search", SEARCHER)).status_code == 200


@pytest.mark.parametrize("text", [None, "{", '[{"name": "x"}]'])
def test_a_file_of_keys_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AccessSettingsError, match=r"keys\.json"):
        _service(keys_file=path)


def test_two_keys_of_one_name_stop_the_start() -> None:
    with pytest.raises(AccessSettingsError, match="same name"):
        _service(keys=(KEYS[0], KEYS[0]))


async def test_pages_of_other_sites_are_rejected() -> None:
    app = _service()
    require_problem(
        await _ask(app, "/search", Origin="https://evil.example"), 403, "origin_refused", "https://evil.example"
    )
    require_problem(await _ask(app, "/search", Origin="null"), 403, "origin_refused", "null")
    assert (await _ask(app, "/search", Origin="http://service")).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://shop.example", "shop.example:443"),
        ("https://shop.example:443", "shop.example"),
        ("http://shop.example", "shop.example:80"),
        ("http://shop.example:80", "SHOP.example"),
        ("HTTPS://Shop.Example", "shop.example"),
        ("http://[2001:DB8::1]:80", "[2001:db8::1]"),
        ("http://[::1]:8001", "[::1]:8001"),
    ],
)
async def test_origin_and_host_are_one_in_spite_of_case_and_default_port(origin: str, host: str) -> None:
    app = _service(keys=KEYS)
    assert (await _ask(app, "/search", SEARCHER, Origin=origin, Host=host)).status_code == 200
    app = _service(keys=KEYS, cors_origins=(origin,))
    assert (await _ask(app, "/search", SEARCHER, Origin=origin, Host="inner:8001")).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://shop.example", "shop.example:80"),
        ("http://shop.example", "shop.example:443"),
        ("https://shop.example:8443", "shop.example"),
        ("https://shop.example", "inner:8001"),
        ("https://shop.example:x", "shop.example"),
        ("https://[::1", "[::2"),
        ("null", "null"),
        ("", "service"),
    ],
)
async def test_another_origin_is_rejected_with_the_host_that_arrived(origin: str, host: str) -> None:
    answer = await _ask(_service(keys=KEYS), "/search", SEARCHER, Origin=origin, Host=host)
    problem = require_problem(answer, 403, "origin_refused", origin)
    assert repr(host) in problem["detail"]


async def test_cors_is_closed_until_it_is_opened() -> None:
    requested = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    closed = await _ask(_service(), "/search", method="OPTIONS", **requested)
    assert "access-control-allow-origin" not in closed.headers
    app = _service(cors_origins=("https://shop.example",))
    opened = await _ask(app, "/search", method="OPTIONS", **requested)
    assert opened.headers["access-control-allow-origin"] == "https://shop.example"
    answer = await _ask(app, "/search", Origin="https://shop.example")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    "host", ["localhost:8001", "127.0.0.1:8001", "[::1]:8001", "query_api:8001", "known.example", "KNOWN.example:80"]
)
async def test_without_keys_hosts_of_this_machine_are_answered_for(host: str) -> None:
    assert (await _ask(_service(allowed_hosts=("Known.example",)), "/search", Host=host)).status_code == 200


async def test_without_keys_a_name_that_a_stranger_pointed_here_is_rejected() -> None:
    require_problem(
        await _ask(_service(), "/search", Host="rebound.example:8001"), 421, "host_refused", "rebound.example"
    )
    app = _service(keys=KEYS)
    assert (await _ask(app, "/search", SEARCHER, Host="search.example")).status_code == 200


async def test_every_response_has_headers_that_restrict_browsers() -> None:
    for answer in (await _ask(_service(), "/search"), await _ask(_service(), "/nowhere")):
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_document_lists_the_scope_of_each_operation() -> None:
    paths = _service().openapi()["paths"]
    assert paths["/search"]["post"]["security"] == [{"key": ["search"]}, {}]
    assert paths["/admin"]["post"]["security"] == [{"key": ["admin"]}, {}]
    assert "security" not in paths["/healthz"]["get"]


def test_a_minutes_worth_may_arrive_at_once_and_refills_evenly() -> None:
    now = 100.0
    limit = RateLimit(6, clock=lambda: now)
    for _ in range(6):
        limit.take()
    with pytest.raises(RateLimitedError) as refused:
        limit.take()
    assert refused.value.headers == {"Retry-After": "10"}
    now += 9.9
    with pytest.raises(RateLimitedError) as refused:
        limit.take()
    assert refused.value.headers == {"Retry-After": "1"}
    now += 0.2
    limit.take()
    now += 3600
    for _ in range(6):
        limit.take()
    with pytest.raises(RateLimitedError):
        limit.take()


class _Answer(BaseModel):
    shown: int = 1
    hidden: int = 2


async def test_dependencies_and_forms_of_a_model_hold_for_routes_that_take_only_the_request() -> None:
    app = _service()
    router = scoped_router(Scope.SEARCH)
    called = []

    @router.get("/plain", dependencies=[Depends(lambda: called.append("dependency"))])
    async def plain(_request: Request) -> _Answer:
        return _Answer()

    @router.get("/short", response_model_exclude={"hidden"})
    async def short(_request: Request) -> _Answer:
        return _Answer()

    app.include_router(router)
    assert (await _ask(app, "/plain", method="GET")).json() == {"shown": 1, "hidden": 2}
    assert called == ["dependency"]
    assert (await _ask(app, "/short", method="GET")).json() == {"shown": 1}
