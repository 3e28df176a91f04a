"""`aff search PHOTO`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Column, Table

from aff_contracts.client import SearchClient
from aff_contracts.errors import AffError, ImageError
from aff_contracts.image_decoding import ImageLimits, decode_image
from aff_contracts.schemas.searching import SearchHit, SearchResponse
from aff_toolkit.cli.console import JsonOption, errors_told, messages, output, print_json
from aff_toolkit.cli.options import DEFAULT_QUERY_URL, QueryUrl
from aff_toolkit.contact_sheet import Cell, contact_sheet

_ROW = 5


def search(
    photo: Annotated[Path, typer.Argument(help="Photograph to search with.")],
    query_url: QueryUrl = DEFAULT_QUERY_URL,
    limit: Annotated[int, typer.Option(min=1, help="Number of hits.")] = 10,
    score_threshold: Annotated[float | None, typer.Option(help="Least cosine similarity of a hit.")] = None,
    payload_filter: Annotated[str | None, typer.Option("--filter", help="Payload filter, as JSON.")] = None,
    crop: Annotated[str | None, typer.Option(help="Part to search with: x1,y1,x2,y2 in pixels.")] = None,
    open_sheet: Annotated[bool, typer.Option("--open", help="Show a contact sheet of the hits.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the photographs of the same thing in the gallery."""
    with errors_told(as_json), SearchClient(query_url) as client:
        data = read_photo(photo)
        answer = client.search(
            data,
            name=photo.name,
            limit=limit,
            score_threshold=score_threshold,
            filter=payload_filter,
            crop=crop,
        )
    if as_json:
        print_json(answer.model_dump())
    else:
        tell_hits(answer)
        output.print("Next: aff search PHOTO --open shows the hits")
    if open_sheet:
        sheet = Path(tempfile.mkdtemp(prefix="aff-")) / "hits.png"
        draw_hits(photo, answer.hits, sheet)
        messages.print(f"contact sheet: {sheet}")
        typer.launch(str(sheet))


def read_photo(photo: Path) -> bytes:
    """Read a photograph's file.

    Raises:
        ImageError: It cannot be read.
    """
    try:
        return photo.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", item=str(photo)) from error


def tell_hits(answer: SearchResponse) -> None:
    """Print a table of the hits, and the service's timings; where `aff index` found a file is left out."""
    table = Table("rank", "score", Column("id", overflow="fold"), Column("payload", overflow="fold"))
    for rank, hit in enumerate(answer.hits, start=1):
        payload = {key: value for key, value in hit.payload.items() if key != "file"}
        told = json.dumps(payload, ensure_ascii=False) if payload else ""
        table.add_row(str(rank), f"{hit.score:.3f}", hit.id, told)
    output.print(table)
    timings = answer.timings_ms
    output.print(
        f"{len(answer.hits)} hits; decode {timings.decode:.1f} ms, encode {timings.encode:.1f} ms, "
        f"search {timings.search:.1f} ms"
    )


def draw_hits(photo: Path, hits: list[SearchHit], sheet: Path) -> None:
    """Draw the photograph and its hits, as far as their files lie on this machine."""
    cells = [Cell(_load(Path(str(hit.payload.get("file", "")))), f"{hit.score:.3f} {hit.id}") for hit in hits]
    parts = [cells[start : start + _ROW] for start in range(0, len(cells), _ROW)] or [[]]
    first, rest = Cell(_load(photo), photo.name), Cell(None, "")
    rows = [(rest if i else first, part) for i, part in enumerate(parts)]
    contact_sheet(rows, f"{photo.name}: {len(hits)} hits").save(sheet)


def _load(path: Path) -> NDArray[np.uint8] | None:
    try:
        return decode_image(path.read_bytes(), ImageLimits(), min_side=256).pixels
    except (OSError, AffError):
        return None
