"""`aff search PHOTO...`, and `aff search --similar ID`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aff_shared.errors import AffError, InvalidParameterError
from aff_toolkit.cli.console import (
    DEFAULT_QUERY_URL,
    FilterOption,
    JsonOption,
    QueryUrl,
    exit_on_error,
    messages,
    output,
    payload_filter,
    print_json,
)
from aff_toolkit.data.image_files import encodable
from aff_toolkit.data.photograph import read_photograph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aff_client import SearchClient
    from aff_shared.schemas.searching import HitArguments, SearchHit, SearchResponse

_ROW = 5


def search(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PHOTO...", help="Photograph to search with, or several of the same thing."),
    ] = None,
    similar: Annotated[str | None, typer.Option(help="Search with an image of the gallery: its id.")] = None,
    crop: Annotated[
        str | None, typer.Option(help="Part of the photograph to search with: x1,y1,x2,y2 in pixels.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of hits.")] = 10,
    score_threshold: Annotated[float | None, typer.Option(help="Minimum cosine similarity of a hit.")] = None,
    filter_text: FilterOption = None,
    group_by: Annotated[
        str | None, typer.Option(help="Payload key: at most one hit for each of its values, such as folder.")
    ] = None,
    expand: Annotated[
        int | None, typer.Option(min=0, help="Search again with the mean of the query and this many first hits.")
    ] = None,
    open_sheet: Annotated[bool, typer.Option("--open", help="Open a contact sheet of the hits.")] = False,
    query_url: QueryUrl = DEFAULT_QUERY_URL,
    as_json: JsonOption = False,
) -> None:
    """Search the gallery for photographs of the same thing."""
    from aff_client import SearchClient  # noqa: PLC0415 - httpx takes 0.2 s

    thumbnails: dict[str, bytes] = {}
    with exit_on_error(as_json), SearchClient(query_url) as client:
        arguments: HitArguments = {
            "limit": limit,
            "score_threshold": score_threshold,
            "filter": payload_filter(filter_text),
            "group_by": group_by,
            "expand": expand,
        }
        if bool(photos) == (similar is not None) or (crop and (similar or len(photos or ()) > 1)):
            raise InvalidParameterError("pass photographs, or --similar ID; --crop needs one photograph", item="PHOTO")
        if similar is not None:
            answer, name = client.search_similar(similar, **arguments), similar
            data = _thumbnail(client, similar) if open_sheet else b""
        else:
            data, *further = map(read_photograph, photos or ())
            name = encodable((photos or [Path()])[0].name)
            answer = client.search(data, *further, name=name, crop=crop, **arguments)
        if open_sheet:
            thumbnails = thumbnails_of(client, answer.hits)
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        print_hits(answer)
        output.print(_next(answer))
    if open_sheet:
        _open(name, data, answer.hits, thumbnails)


def _open(name: str, data: bytes, hits: Sequence[SearchHit], thumbnails: Mapping[str, bytes]) -> None:
    sheet = Path(tempfile.mkdtemp(prefix="aff-")) / "hits.png"
    draw_hits(name, data, hits, thumbnails, sheet)
    messages.print(f"contact sheet: {sheet}")
    if sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        typer.launch(str(sheet))


def _thumbnail(client: SearchClient, item_id: str) -> bytes:
    """Return the thumbnail of an image; empty if it has none."""
    with contextlib.suppress(AffError):
        return client.thumbnail(item_id)
    return b""


def _next(answer: SearchResponse) -> str:
    if answer.hits:
        return "Next: aff search PHOTO --open shows the hits"
    return "There are no hits. If the gallery is empty: aff index FOLDER"


def print_hits(answer: SearchResponse) -> None:
    """Print a table of the hits, and the service's timings."""
    from rich.table import Column, Table  # noqa: PLC0415

    columns: dict[str, list[str]] = {
        "rank": [str(rank + 1) for rank in range(len(answer.hits))],
        "score": [f"{hit.score:.3f}" for hit in answer.hits],
        "strength": [hit.strength or "" for hit in answer.hits],
        "id": [hit.id for hit in answer.hits],
        "payload": [json.dumps(hit.payload, ensure_ascii=False) if hit.payload else "" for hit in answer.hits],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells) or name in {"rank", "score", "id"}}
    table = Table(*(Column(name, overflow="fold" if name in {"id", "payload"} else "ellipsis") for name in shown))
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    output.print(table)
    timings = answer.timings_ms
    output.print(
        f"{len(answer.hits)} hits; decode {timings.decode:.1f} ms, encode {timings.encode:.1f} ms, "
        f"search {timings.search:.1f} ms"
    )


def thumbnails_of(client: SearchClient, hits: Sequence[SearchHit]) -> dict[str, bytes]:
    """Return the available thumbnails of the hits, by item ID."""
    found = {hit.id: _thumbnail(client, hit.id) for hit in hits}
    return {item_id: data for item_id, data in found.items() if data}


def draw_hits(name: str, data: bytes, hits: Sequence[SearchHit], thumbnails: Mapping[str, bytes], sheet: Path) -> None:
    """Draw a query photograph and the thumbnails of its hits.

    Args:
        name: Name of the photograph.
        data: Image file of the photograph.
        hits: Hits, best first.
        thumbnails: Image files by item ID; hits without one are empty.
        sheet: Path of the picture.
    """
    from aff_toolkit.data.contact_sheet import Cell, contact_sheet  # noqa: PLC0415 - imports numpy and Pillow

    cells = [Cell(_decoded(thumbnails.get(hit.id, b"")), f"{hit.score:.3f} {hit.id}") for hit in hits]
    parts = [cells[start : start + _ROW] for start in range(0, len(cells), _ROW)] or [[]]
    query = Cell(_decoded(data), name)
    rows = [(None if i else query, part) for i, part in enumerate(parts)]
    contact_sheet(rows, f"{name}: {len(hits)} hits").save(sheet)


def _decoded(data: bytes) -> NDArray[np.uint8] | None:
    from aff_shared.images.decoding import ImageLimits, decode_image  # noqa: PLC0415 - imports numpy and Pillow

    try:
        return decode_image(data, ImageLimits(), min_side=256).pixels
    except AffError:
        return None
