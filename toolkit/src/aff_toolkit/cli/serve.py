"""`aff serve`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from aff_contracts.gallery_store.settings import StoreSettings
from aff_contracts.heap import bound_heap
from aff_contracts.web.logs import configure_logging
from aff_contracts.web.observe_settings import ObserveSettings
from aff_contracts.web.serving import run_on_event_loop, settings_errors_told
from aff_contracts.web.tracing import configure_tracing
from aff_toolkit.cli.console import JsonOption, errors_told, messages, print_json
from aff_toolkit.cli.options import DEFAULT_BUNDLE


class Only(enum.StrEnum):
    """A service to be run alone."""

    INDEXER = "indexer"
    QUERY = "query"


def serve(
    bundle: Annotated[
        Path | None, typer.Option(help="Directory of the model bundle.", show_default=str(DEFAULT_BUNDLE))
    ] = None,
    gallery: Annotated[Path | None, typer.Option(help="Directory of the embedded gallery.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    query_port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the query service.")] = None,
    indexer_port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the indexer.")] = None,
    thumbnails: Annotated[
        int,
        typer.Option(
            min=0,
            max=1024,
            envvar="AFF_INDEX_THUMBNAIL_SIDE",
            help="Pixels of the longer side of the thumbnails that are kept; 0 keeps none.",
        ),
    ] = 160,
    only: Annotated[Only | None, typer.Option(help="Run one service; run both with a QDRANT_URL.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the gallery indexer and the query service in one process, or one of them alone.

    The gallery lies in an embedded Qdrant in --gallery, or in the server that QDRANT_URL names. What is not given here
    comes from the environment, else from the defaults (docs/architecture.md).
    """
    bound_heap()
    from aff_toolkit.local import serve_local  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415
    from query_api.settings import QuerySettings  # noqa: PLC0415

    with settings_errors_told():
        store = StoreSettings(**_given(edge_path=gallery))
        query = indexer = None
        addresses = {"store": store.url or str(store.edge_path)}
        if only is not Only.INDEXER:
            query = QuerySettings(**_given(bundle_path=bundle, host=host, port=query_port))
            addresses["query"] = query.address
        if only is not Only.QUERY:
            given = _given(bundle_path=bundle, host=host, port=indexer_port, thumbnail_side=thumbnails)
            indexer = IndexerSettings(**given)
            addresses["indexer"] = indexer.address
    if as_json:
        print_json(addresses)
    else:
        told = ", ".join(f"{name} {address}" for name, address in addresses.items())
        page = "" if query is None else f" Search by photograph at {addresses['query']};"
        messages.print(f"{told}.{page} next: aff index FOLDER; Ctrl-C stops.")
    with errors_told(as_json):
        observed = ObserveSettings()
        configure_logging(observed)
        configure_tracing(observed, "aff-serve")
        run_on_event_loop(serve_local(store, indexer, query, messages.print))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
