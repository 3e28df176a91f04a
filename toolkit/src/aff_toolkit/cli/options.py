"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_shared.bundles.default_bundle import DEFAULT_BUNDLE, default_bundle

__all__ = [
    "DEFAULT_BUNDLE",
    "DEFAULT_INDEXER_URL",
    "DEFAULT_QUERY_URL",
    "BundlePath",
    "Device",
    "IndexerUrl",
    "QueryUrl",
    "find_default_bundle",
]


def find_default_bundle(context: typer.Context, option: typer.CallbackParam, given: Path) -> Path:
    """Return the bundle that an option names, or the default one, wherever the command runs."""
    source = context.get_parameter_source(str(option.name))
    return default_bundle() if source is not None and source.name == "DEFAULT" else given


IndexerUrl = Annotated[
    str, typer.Option("--indexer-url", envvar="AFF_INDEXER_URL", help="Address of the gallery indexer.")
]
QueryUrl = Annotated[str, typer.Option("--query-url", envvar="AFF_QUERY_URL", help="Address of the query service.")]
BundlePath = Annotated[
    Path, typer.Option("--bundle", callback=find_default_bundle, help="Directory of the model bundle.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto for CUDA where there is a card.")]

DEFAULT_INDEXER_URL = "http://127.0.0.1:8002"
DEFAULT_QUERY_URL = "http://127.0.0.1:8001"
