"""Runs one or several applications in this process until it is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from aff_contracts.errors import AffError

_GRACE_S = 10


@dataclass(frozen=True, slots=True)
class ServedApp:
    """An application and the address that it listens on."""

    app: FastAPI
    host: str
    port: int


def run_service(served: ServedApp) -> None:
    """Serve one application; a start that fails ends the process with status 1 and one clear sentence."""
    try:
        run_apps([served])
    except AffError as error:
        sys.stderr.write(f"{type(error).title}: {error}\n")
        raise SystemExit(1) from error


def run_apps(apps: Sequence[ServedApp]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        AffError: What stops an application from starting: a bundle that cannot be used, a locked store.
    """
    servers = [_server(served) for served in apps]
    with asyncio.Runner(loop_factory=servers[0].config.get_loop_factory()) as runner:
        runner.run(_serve([served.app for served in apps], servers))


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to its owner: several of them may share the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(served: ServedApp) -> _Server:
    # The lifespan is entered by _serve: in uvicorn's hands an error of the start would drown in a traceback.
    config = uvicorn.Config(
        served.app,
        host=served.host,
        port=served.port,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config)


async def _serve(apps: Sequence[FastAPI], servers: Sequence[_Server]) -> None:
    def stop() -> None:
        for server in servers:
            server.should_exit = True

    async def serve(server: _Server) -> None:
        try:
            await server.serve()
        finally:
            stop()

    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop)
        await asyncio.gather(*(serve(server) for server in servers))
