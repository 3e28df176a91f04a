"""Calls to the nodes of a Qdrant server, with failover to the next node."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from qdrant_client import AsyncQdrantClient

from aff_shared.errors import AffError, RequestError, StoreRejectedError, StoreThrottledError, StoreUnavailableError
from aff_shared.store.retry import retry_unavailable
from aff_shared.store.server.connection import (
    addresses_of,
    client_arguments,
    place_of,
    shows_key,
)
from aff_shared.store.server.errors import is_over_rest, translated
from aff_shared.store.settings import StoreSettings

_Result = TypeVar("_Result")
Request = Callable[[AsyncQdrantClient], Awaitable[_Result]]

_LOOKUP_INTERVAL_S = 10.0
_LOOKUP_INTERVAL_IN_TROUBLE_S = 1.0

_LOOPBACK = {"::1": "127.0.0.1"}  # both addresses of `localhost` are one server

_logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Node:
    """An address of the server.

    Attributes:
        url: The server's address as the settings name it.
        address: One that its name stands for.
        client: Connected to that address.
        rank: Order among nodes that did not fail: the first is used.
        failed_at: When it failed last, by the monotonic clock; 0 once it has answered since.
    """

    url: str
    address: str
    client: AsyncQdrantClient
    rank: tuple[bool, float] = (False, 0.0)
    failed_at: float = 0.0


class ServerNodes:
    """The nodes that the settings name, and each further address that their names stand for.

    All calls of a process go to one node, so that it reads what it wrote; which one is drawn. When a call fails there,
    this and later ones go to the next node, and the failed one is left out until it answers again. Names are looked
    up again from time to time, and when no node answers.

    Args:
        settings: Which nodes, and how long they are waited for.
        client: The only node, in place of the settings'.

    Raises:
        StoreUnavailableError: The key's file or the authority's certificate cannot be read.
    """

    def __init__(self, settings: StoreSettings, client: AsyncQdrantClient | None = None) -> None:
        self.settings = settings
        self._is_fixed = client is not None
        self._nodes = [] if client is None else [_Node(settings.url, settings.url, client)]
        self._lookup: asyncio.Task[None] | None = None
        self._looked_up_at = float("-inf")
        self._has_warned = False
        self._lookup_failure = "no answer yet"
        self._watched: set[_Node] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        if client is None:
            client_arguments(settings, settings.urls[0], "127.0.0.1")

    async def call(self, request: Request[_Result], *, reads: bool = False, only_try_s: float | None = None) -> _Result:
        """Await a request, on another node if one fails; all requests may be repeated.

        Args:
            request: Makes the call with the client of a node.
            reads: Whether it only reads: then a node is waited for `read_timeout_s` while there are others to ask. The
                last attempt calls all of them and waits `timeout_s`, so slow nodes can answer if another one hangs.
            only_try_s: Maximum wait of a call that is made once, in seconds.

        Raises:
            StoreUnavailableError: No node answered; StoreThrottledError where it limits the rate.
            AffError: The server rejected it, as `translated` returns it.
        """
        if only_try_s is not None:
            return await self._ask(await self._next(), request, only_try_s)
        nodes = await self._known()
        retries = max(self.settings.max_retries, len(nodes) if len(nodes) > 1 else 0)
        peers = len({(node.url, _LOOPBACK.get(node.address, node.address)) for node in nodes})
        tries = itertools.count()

        async def attempt() -> _Result:
            if not reads or peers <= 1:
                return await self._ask(await self._next(), request, self.settings.timeout_s)
            if next(tries) < retries:
                return await self._ask(await self._next(), request, self.settings.read_timeout_s)
            return await self._ask_all(request)

        backoff_s = self.settings.retry_backoff_s
        return await retry_unavailable(attempt, max_retries=retries, backoff_s=backoff_s, peers=max(peers, 1))

    async def administer(self, request: Request[_Result], *, reads: bool = False) -> _Result:
        """Await a request about collections, as `call`: a rejection is a StoreRejectedError, not the caller's error."""
        try:
            return await self.call(request, reads=reads)
        except RequestError as error:
            raise StoreRejectedError(error.detail, item=error.item) from error

    async def close(self) -> None:
        """Close the connections, and give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for node in self._nodes:
            await node.client.close()

    async def _next(self) -> _Node:
        """Return the node to ask: one that did not fail, or the one that failed longest ago."""
        nodes = await self._known()
        if not nodes:
            raise StoreUnavailableError(f"cannot look up the Qdrant server: {self._lookup_failure}")
        return min(nodes, key=lambda node: (node.failed_at, node.rank))

    async def _known(self) -> list[_Node]:
        """Return the nodes; they are looked up again if that is due, and awaited if all of them have failed."""
        in_trouble = all(node.failed_at for node in self._nodes)
        interval_s = _LOOKUP_INTERVAL_IN_TROUBLE_S if in_trouble else _LOOKUP_INTERVAL_S
        is_due = time.monotonic() >= self._looked_up_at + interval_s or not self._nodes
        if is_due and not self._is_fixed and (self._lookup is None or self._lookup.done()):
            self._lookup = self._begin(self._look_up())
        if in_trouble and self._lookup is not None:
            wait_s = self.settings.read_timeout_s if self._nodes else self.settings.timeout_s
            await asyncio.wait([self._lookup], timeout=wait_s)
        return self._nodes

    async def _ask(self, node: _Node, request: Request[_Result], wait_s: float) -> _Result:
        try:
            async with asyncio.timeout(wait_s):
                result = await request(node.client)
        except Exception as error:
            reason = TimeoutError(f"no answer within {wait_s:g} s") if isinstance(error, TimeoutError) else error
            failure = translated(reason, f"Qdrant server {self._place(node, over_rest=is_over_rest(error))}")
            if isinstance(failure, StoreUnavailableError) and not isinstance(failure, StoreThrottledError):
                self._leave_out(node, failure)
            raise failure from error
        node.failed_at = 0.0
        return result

    async def _ask_all(self, request: Request[_Result]) -> _Result:
        """Return what the first node answers."""
        calls = [asyncio.create_task(self._ask(node, request, self.settings.timeout_s)) for node in self._nodes]
        failure = StoreUnavailableError("the Qdrant server has no node")
        try:
            for answer in asyncio.as_completed(calls):
                try:
                    return await answer
                except StoreUnavailableError as error:
                    failure = error
            raise failure
        finally:
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def _leave_out(self, node: _Node, failure: StoreUnavailableError) -> None:
        node.failed_at = time.monotonic()
        if len(self._nodes) > 1 and node not in self._watched:
            _logger.warning("failing over to another node: %s", failure)
            self._watched.add(node)
            self._begin(self._watch(node))

    async def _watch(self, node: _Node) -> None:
        """Ask a node that failed for its version until it answers, or its address is no longer the server's."""
        while node in self._nodes:
            await asyncio.sleep(self.settings.node_pause_s)
            try:
                await self._ask(node, lambda client: client.info(), self.settings.read_timeout_s)
            except StoreUnavailableError:
                continue
            except AffError:  # a rejection is an answer, too
                node.failed_at = 0.0
            _logger.info("Qdrant server %s is back", self._place(node))
            break
        self._watched.discard(node)

    async def _look_up(self) -> None:
        """Replace the nodes by those that the names stand for now; a name that cannot be looked up keeps its own."""
        known = {(node.url, node.address): node for node in self._nodes}
        found = []
        for url in self.settings.urls:
            try:
                found += [known.get((url, one)) or self._connected(url, one) for one in await addresses_of(url)]
            except (OSError, StoreUnavailableError) as error:
                self._lookup_failure = f"{url}: {error}"
                found += [node for node in self._nodes if node.url == url and node not in found]
        gone = [node for node in self._nodes if node not in found]
        self._nodes, self._looked_up_at = found, time.monotonic()
        for node in gone:
            _logger.info("Qdrant server %s was removed from DNS", self._place(node))
            self._begin(self._dismiss(node))

    async def _dismiss(self, node: _Node) -> None:
        """Close the connections to a node, once the calls that are under way there have ended."""
        try:
            await asyncio.sleep(self.settings.timeout_s)
        finally:
            await node.client.close()

    def _connected(self, url: str, address: str) -> _Node:
        arguments = client_arguments(self.settings, url, address)
        if shows_key(arguments, address) and not self._has_warned:
            _logger.warning("the key of the Qdrant server %s crosses a public network readable: take https://", url)
            self._has_warned = True
        return _Node(url, address, _client(arguments), rank=(":" in address, random.random()))

    def _place(self, node: _Node, *, over_rest: bool = False) -> str:
        over_rest = over_rest or not self.settings.over_grpc
        return place_of(self.settings, node.url, node.address, over_rest=over_rest)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _client(arguments: dict[str, Any]) -> AsyncQdrantClient:
    """Return a client without its own warning about keys over HTTP, which ignores the kind of network."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection", category=UserWarning)
        return AsyncQdrantClient(**arguments)
