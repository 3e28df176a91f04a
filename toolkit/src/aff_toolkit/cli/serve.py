"""`aff serve`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from aff_contracts.gallery_store.settings import StoreSettings
from aff_contracts.web.serving import run_on_event_loop
from aff_toolkit.cli.console import JsonOption, errors_told, messages, print_json
from aff_toolkit.cli.options import DEFAULT_BUNDLE, BundlePath


class Only(enum.StrEnum):
    """A service to be run alone."""

    INDEXER = "indexer"
    QUERY = "query"


def serve(
    bundle: BundlePath = DEFAULT_BUNDLE,
    gallery: Annotated[Path, typer.Option(help="Directory of the embedded gallery.")] = Path("data/gallery"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    query_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8001,
    indexer_port: Annotated[int, typer.Option(min=1, max=65_535)] = 8002,
    only: Annotated[Only | None, typer.Option(help="Run one service; both need QDRANT_URL then.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the gallery indexer and the query service in one process, or one of them alone.

    The gallery lies in an embedded Qdrant in --gallery, or in the server that QDRANT_URL names.
    """
    store = StoreSettings(edge_path=gallery)
    addresses = {
        "query": f"http://{host}:{query_port}",
        "indexer": f"http://{host}:{indexer_port}",
        "store": store.url or str(gallery),
    }
    if as_json:
        print_json(addresses)
    else:
        messages.print(
            f"query service {addresses['query']}, gallery indexer {addresses['indexer']}, "
            f"gallery {addresses['store']}. Next: aff index FOLDER; Ctrl-C stops."
        )
    with errors_told(as_json):
        _run(only, store, bundle, host, query_port, indexer_port)


def _run(only: Only | None, store: StoreSettings, bundle: Path, host: str, query_port: int, indexer_port: int) -> None:
    from aff_toolkit.local import serve_local  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415
    from query_api.settings import QuerySettings  # noqa: PLC0415

    indexer = IndexerSettings(bundle_path=bundle, host=host, port=indexer_port)
    query = QuerySettings(bundle_path=bundle, host=host, port=query_port)
    run_on_event_loop(
        serve_local(store, None if only is Only.QUERY else indexer, None if only is Only.INDEXER else query)
    )
