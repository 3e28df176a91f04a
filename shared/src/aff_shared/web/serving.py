"""Runs one or several applications in this process until it receives a signal to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError
from uvicorn.loops.auto import auto_loop_factory

from aff_shared.errors import AffError, ListenError
from aff_shared.resource_limits import bound_heap
from aff_shared.web.http_protocol import limited_http
from aff_shared.web.logs import configure_logging
from aff_shared.web.observability import configure_tracing
from aff_shared.web.settings import ListenSettings

_GRACE_S = 10
_OPEN_FILES = 65_536
_Settings = TypeVar("_Settings", bound=ListenSettings)


@dataclass(frozen=True, slots=True)
class ServedApp:
    """An application and its server settings."""

    app: FastAPI
    listen: ListenSettings


def run_service(settings_class: type[_Settings], create_app: Callable[[_Settings], FastAPI]) -> None:
    """Serve one application with settings from the environment.

    If the start fails, the process ends with status 1 and one line that names the cause.
    """
    prepare_process()
    try:
        with report_settings_errors():
            settings = settings_class()
            app = create_app(settings)
        configure_logging(settings.observe)
        configure_tracing(settings.observe, create_app.__module__.partition(".")[0])
        run_on_event_loop(serve([ServedApp(app, settings)]))
    except AffError as error:
        sys.stderr.write(f"{type(error).title}: {error}\n")
        raise SystemExit(1) from error


def prepare_process() -> None:
    """Set what holds for the whole process of a service, before anything else of it starts.

    The heap is bounded; more files may be open than usual, for each connection is one; SIGTERM ends the process
    while it starts, which the first process of a container would ignore by default; and ONNX Runtime, which reads the
    variable when it is imported, reports nothing to its maker.
    """
    bound_heap()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _OPEN_FILES)), hard))
    signal.signal(signal.SIGTERM, _end)


def _end(signum: int, _frame: object) -> None:
    sys.exit(128 + signum)


@contextlib.contextmanager
def report_settings_errors() -> Iterator[None]:
    """End the process with status 1 and one line if settings of the environment are invalid."""
    try:
        yield
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        sys.stderr.write(f"Invalid settings of {error.title}: {wrong}\n")
        raise SystemExit(1) from error
    except SettingsError as error:
        sys.stderr.write(f"Invalid settings: {error}; it has to be JSON: {error.__cause__}\n")
        raise SystemExit(1) from error


def run_on_event_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on the fastest available event loop (uvloop if it is installed)."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(main)


async def serve(apps: Sequence[ServedApp]) -> None:
    """Serve until SIGINT or SIGTERM; the applications share this event loop.

    Raises:
        AffError: An application cannot start: a port that is in use, a bundle that cannot be used, a locked
            store.
    """
    servers = [_server(served) for served in apps]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    async def run(server: _Server, listening: socket.socket) -> None:
        try:
            await server.serve([listening])
        finally:
            stop()

    async with contextlib.AsyncExitStack() as stack:
        sockets = [stack.enter_context(_listening(served.listen)) for served in apps]
        for served in apps:
            await stack.enter_async_context(served.app.router.lifespan_context(served.app))
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop)
        await asyncio.gather(*map(run, servers, sockets))


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to its owner: several of them may share the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(listen: ListenSettings) -> socket.socket:
    host = listen.host.strip("[]")
    ipv6 = ":" in host
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    try:
        # `::` is every address of this machine, those of IPv4 too.
        return socket.create_server(
            (host, listen.port), family=family, dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6()
        )
    except OSError as error:
        reason = f"{error.strerror}; another port is chosen by {listen.model_config['env_prefix']}PORT"
        raise ListenError(reason, item=listen.address.removeprefix("http://")) from error


def _server(served: ServedApp) -> _Server:
    listen = served.listen
    # The lifespan is entered by `serve`: in uvicorn's hands an error of the start would drown in a traceback.
    config = uvicorn.Config(
        served.app,
        host=listen.host,
        port=listen.port,
        http=limited_http(listen.head_timeout_s, listen.max_head_bytes, listen.max_connections),
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=listen.keep_alive_timeout_s,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config)
