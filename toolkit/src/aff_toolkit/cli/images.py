"""`aff ls`, `aff show`, `aff edit` and `aff delete`: the images of the gallery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import (
    DEFAULT_INDEXER_URL,
    DEFAULT_QUERY_URL,
    FilterOption,
    IndexerUrl,
    JsonOption,
    QueryUrl,
    exit_on_error,
    messages,
    output,
    payload_filter,
    print_json,
)

if TYPE_CHECKING:
    from aff_shared.schemas.indexing import GalleryImage

_PAGE = 100
_MISSING = 3

ItemId = Annotated[str, typer.Argument(metavar="ID", help="Id of an image.")]


def ls(
    filter_text: FilterOption = None,
    order: Annotated[
        Literal["newest", "oldest", "id"], typer.Option(help="By time of indexing, or in a fixed order.")
    ] = "newest",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of images; 0 lists all.")] = 50,
    query_url: QueryUrl = DEFAULT_QUERY_URL,
    as_json: JsonOption = False,
) -> None:
    """List the images of the gallery."""
    from aff_client import SearchClient  # noqa: PLC0415 - httpx takes 0.2 s

    images: list[GalleryImage] = []
    with exit_on_error(as_json), SearchClient(query_url) as client:
        chosen, cursor = payload_filter(filter_text), None
        while True:
            left = limit - len(images) if limit else _PAGE
            page = client.images(limit=min(_PAGE, left), order=order, filter=chosen, cursor=cursor)
            images += page.images
            cursor = page.next_cursor
            if cursor is None or (limit and len(images) >= limit):
                break
    if as_json:
        print_json({"images": [image.model_dump(mode="json") for image in images], "total": page.total})
        return
    _print_table(images)
    output.print(f"{len(images)} of {page.total} images. Next: aff show ID")


def _print_table(images: list[GalleryImage]) -> None:
    from rich.table import Column, Table  # noqa: PLC0415

    table = Table(Column("id", overflow="fold"), "indexed", "pixels", Column("payload", overflow="fold"))
    for image in images:
        payload = json.dumps(image.payload, ensure_ascii=False) if image.payload else ""
        table.add_row(image.id, f"{image.indexed_at:%Y-%m-%d %H:%M}", f"{image.width} x {image.height}", payload)
    output.print(table)


def show(item_id: ItemId, query_url: QueryUrl = DEFAULT_QUERY_URL, as_json: JsonOption = False) -> None:
    """Show what the gallery stores about an image: size, time, checksum, extractors, payload.

    Exit status 1 if there is no such image.
    """
    from aff_client import SearchClient  # noqa: PLC0415 - httpx takes 0.2 s

    with exit_on_error(as_json), SearchClient(query_url) as client:
        image = client.image(item_id)
    _print_image(image, as_json)


def edit(
    item_id: ItemId,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="New values, as JSON or text: year=2024 city=Paris."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Key to remove; can be repeated.")] = None,
    replace: Annotated[str | None, typer.Option(help="New payload, as a JSON object, in place of the old one.")] = None,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Change the payload of an image; keys that are not named keep their values.

    Exit status 1 if there is no such image.
    """
    from aff_client import IndexerClient  # noqa: PLC0415 - httpx takes 0.2 s

    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        patch = {**dict(map(_key_and_value, changes or ())), **dict.fromkeys(remove or ())}
        if (replace is None) == (not patch):
            raise InvalidParameterError("pass either KEY=VALUE and --remove, or --replace", item="aff edit")
        image = client.change(item_id, patch) if replace is None else client.replace(item_id, _object(replace))
    _print_image(image, as_json)


def delete(
    item_ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of images.")] = None,
    filter_text: FilterOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every image.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not prompt with --filter and --all.")] = False,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Delete images from the gallery by id, by a filter, or all. Exit status 3: some ids are not in the gallery."""
    from aff_client import IndexerClient  # noqa: PLC0415 - httpx takes 0.2 s

    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        chosen = payload_filter(filter_text)
        if sum((bool(item_ids), chosen is not None, everything)) != 1:
            raise InvalidParameterError("pass either ids, --filter or --all", item="aff delete")
        if not item_ids and not yes:
            typer.confirm(f"Delete {'every image' if everything else 'all images that match'}?", abort=True, err=True)
        if item_ids:
            deleted = client.delete(item_ids)
        else:
            deleted = client.delete_all() if chosen is None else client.delete_matching(chosen)
    missing = len(set(item_ids or ())) - deleted if item_ids else 0
    if as_json:
        print_json({"deleted": deleted, "missing": missing})
    else:
        output.print(f"{deleted} images deleted")
    if missing > 0:
        messages.print(f"{missing} ids are not in the gallery")
        raise typer.Exit(_MISSING)


def _print_image(image: GalleryImage, as_json: bool) -> None:
    if as_json:
        print_json(image.model_dump(mode="json"))
        return
    output.print(f"{image.id}: {image.width} x {image.height} pixels, indexed {image.indexed_at:%Y-%m-%d %H:%M:%S%z}")
    output.print(f"sha256 {image.content_sha256}")
    if image.extractors is not None:
        output.print(f"extractors: {', '.join(image.extractors) or 'none found anything'}")
    for key, value in image.payload.items():
        output.print(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _key_and_value(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidParameterError("is not KEY=VALUE", item=text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise InvalidParameterError(f"is not JSON: {error}", item="--replace") from error
    if not isinstance(parsed, dict):
        raise InvalidParameterError("is not a JSON object", item="--replace")
    return parsed
