"""`aff serve` and `aff openapi`."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aff_shared.store.settings import StoreSettings
from aff_shared.web.logs import configure_logging
from aff_shared.web.observability import configure_tracing
from aff_shared.web.serving import prepare_process, report_settings_errors, run_on_event_loop
from aff_shared.web.settings import AccessSettings, ObserveSettings, Scope
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    JsonOption,
    bundle_named,
    exit_on_error,
    messages,
    output,
    print_json,
)
from aff_toolkit.cli.keys import make_key


class Only(enum.StrEnum):
    """A single service."""

    INDEXER = "indexer"
    QUERY = "query"


def serve(
    bundle: Annotated[
        Path | None,
        typer.Option(callback=bundle_named, help="Path or name of the model bundle.", show_default=str(DEFAULT_BUNDLE)),
    ] = None,
    gallery_dir: Annotated[Path | None, typer.Option(help="Directory of the embedded gallery.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    query_port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the query service.")] = None,
    indexer_port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the indexer.")] = None,
    thumbnails: Annotated[
        int,
        typer.Option(
            min=0,
            max=1024,
            envvar="AFF_INDEX_THUMBNAIL_SIDE",
            help="Longer side of the stored thumbnails in pixels; 0 stores none.",
        ),
    ] = 320,
    originals: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the photographs, so that the page shows and downloads them; ids are paths below it.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Key file, used if no AFF_ACCESS_* setting configures access. If it does not exist, it is created "
            "with one key for everything, which is printed once."
        ),
    ] = None,
    only: Annotated[
        Only | None, typer.Option(help="Run only this service; the other one can run elsewhere if QDRANT_URL is set.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the gallery indexer and the query service in one process, or only one of them.

    An embedded Qdrant engine stores the gallery in the directory --gallery-dir, or the Qdrant server QDRANT_URL does.
    Other settings are read from environment variables (docs/settings.md).
    """
    prepare_process()
    from aff_toolkit.local.run_services import serve_local  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415
    from query_api.settings import QuerySettings  # noqa: PLC0415

    with report_settings_errors(), exit_on_error(as_json):
        access = AccessSettings() if keys is None else _access_by_keys_of(keys)
        store = StoreSettings(**_given(edge_path=gallery_dir))
        query = indexer = None
        addresses = {"store": store.url or str(store.edge_path)}
        if only is not Only.INDEXER:
            query = QuerySettings(
                access=access, **_given(bundle_path=bundle, host=host, port=query_port, originals_dir=originals)
            )
            addresses["query"] = query.address
        if only is not Only.QUERY:
            given = _given(bundle_path=bundle, host=host, port=indexer_port, thumbnail_side=thumbnails)
            indexer = IndexerSettings(access=access, **given)
            addresses["indexer"] = indexer.address
    if as_json:
        print_json(addresses)
    else:
        shown = ", ".join(f"{name} {address}" for name, address in addresses.items())
        page = "" if query is None else f" Search page: {addresses['query']}."
        messages.print(f"{shown}.{page} Next: aff index FOLDER. Ctrl-C stops the services.")
    with exit_on_error(as_json):
        observed = ObserveSettings()
        configure_logging(observed)
        configure_tracing(observed, "aff-serve")
        run_on_event_loop(serve_local(store, indexer, query, messages.print))


def _access_by_keys_of(path: Path) -> AccessSettings:
    """Return the access settings of the environment, or, if they do not configure access, those of a key file."""
    access = AccessSettings()
    if access.model_fields_set & {"keys", "keys_file", "anonymous_scopes", "published_host"}:
        return access
    if not path.exists():
        key, _ = make_key("owner", list(Scope), file=path)
        messages.print(f"The key for everything is printed below and is not stored; its hash is in {path}.")
        typer.echo(key, err=True)
    return access.model_copy(update={"keys_file": path})


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def openapi(
    directory: Annotated[Path, typer.Argument(help="Directory for the documents.")], as_json: JsonOption = False
) -> None:
    """Write the OpenAPI document of each service."""
    from gallery_indexer.app import create_app as create_indexer_app  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415
    from query_api.app import create_app as create_query_app  # noqa: PLC0415
    from query_api.settings import QuerySettings  # noqa: PLC0415

    documents = {
        "gallery_indexer": create_indexer_app(IndexerSettings()).openapi(),
        "query_api": create_query_app(QuerySettings()).openapi(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (directory / f"{name}.json").write_text(text, encoding="utf-8")
    if as_json:
        print_json({name: str(directory / f"{name}.json") for name in documents})
    else:
        output.print(f"{', '.join(f'{name}.json' for name in documents)} written to {directory}")
