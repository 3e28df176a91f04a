"""`aff gallery`: manages the collections of a gallery, of which one is live."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aff_client.index_client import IndexerClient
from aff_shared.errors import CollectionNotFoundError
from aff_shared.schemas.gallery import (
    Backup,
    CollectionComparison,
    CollectionStatus,
    FusedCollection,
    GalleryStatus,
)
from aff_toolkit.cli.console import (
    DEFAULT_INDEXER_URL,
    IndexerUrl,
    JsonOption,
    exit_on_error,
    messages,
    output,
    print_json,
)
from aff_toolkit.cli.gallery_import import export_files, import_files
from aff_toolkit.cli.gallery_job import (
    JobFailedError,
    ended_job,
    print_backups,
    print_comparison,
    print_jobs,
    print_remixed,
)
from aff_toolkit.cli.gallery_offline import rebuild

app = typer.Typer(
    help="Manage a gallery: collections, model changes without downtime, backups, export.", no_args_is_help=True
)
app.command()(rebuild)
app.command("export")(export_files)
app.command("import")(import_files)

_DIFFERENT = 3

Space = Annotated[str, typer.Argument(help="ID of a collection's embedding space, or a prefix of it.")]


@app.command("list")
def list_collections(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Show the collections, the live one first."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def create(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Create an empty gallery; an existing gallery is not changed."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        gallery = client.create()
    _show(gallery, as_json)


@app.command()
def build(
    bundle: Annotated[str, typer.Option(help="Name or path of a bundle in the directory of the indexer's.")],
    source: Annotated[
        str | None, typer.Argument(help="Source to index into the collection, as for `aff index`.")
    ] = None,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Create a collection for another bundle and index images into it, while searches use the live collection.

    New images are indexed into every collection. Images that the collection already has are not embedded again, so an
    interrupted build can be repeated.
    """
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        created = client.build(Path(bundle).name)
    if source is not None:
        from aff_toolkit.cli.index import index as index_source  # noqa: PLC0415

        index_source(source, indexer_url=indexer_url, as_json=as_json)
    elif as_json:
        print_json(created.model_dump(mode="json"))
    short = created.space.id[:12]
    following = (
        f"Next: aff gallery verify {short}" if source else "Next: index all sources again with `aff index SOURCE`"
    )
    messages.print(
        f"collection {short} for {created.bundle}, fingerprint {(created.fingerprint or '')[:12]}. {following}"
    )


@app.command()
def remix(
    mixer: Annotated[
        str, typer.Option(help="Name or path of a bundle with the same extractors, in the directory of the indexer's.")
    ],
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Recompute the gallery with another mixer from stored features; no image is read.

    Exit status 3: some images have no stored features.
    """
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        try:
            job = ended_job(client, client.remix(Path(mixer).name), "remixing")
        except JobFailedError:
            messages.print("finished images are kept; the same command resumes")
            raise
    assert isinstance(job.result, FusedCollection), "the result of this kind of job"
    if as_json:
        print_json(job.model_dump(mode="json"))
    else:
        print_remixed(job, job.result)
    if job.result.missing:
        raise typer.Exit(_DIFFERENT)


@app.command()
def verify(
    space: Space,
    samples: Annotated[int, typer.Option(min=1, max=10_000, help="Number of images to search with.")] = 100,
    neighbours: Annotated[int, typer.Option(min=1, max=100, help="Number of hits to compare.")] = 10,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Compare a collection with the live one; exit status 3 if they contain different images."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        found = _verified(client, space, samples=samples, neighbours=neighbours)
    if as_json:
        print_json(found.model_dump())
    else:
        print_comparison(found, space)
    if found.missing or found.surplus:
        raise typer.Exit(_DIFFERENT)


@app.command()
def switch(
    space: Space,
    force: Annotated[bool, typer.Option(help="Switch even if images are missing.")] = False,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Make a collection live if it has all images of the live one, which is kept for `rollback`."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        if not force and (missing := _verified(client, space, samples=1, neighbours=1).missing):
            messages.print(f"{missing} images are missing; see `aff gallery verify {space}`, or use --force")
            raise typer.Exit(_DIFFERENT)
        gallery = client.switch(space)
    _show(gallery, as_json)


@app.command()
def rollback(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Make the previously live collection live again."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        others = [one for one in client.gallery().collections if not one.live]
        before = [one for one in others if one.live_since is not None] or others
        if not before or (before[0].live_since is None and len(before) > 1):
            raise CollectionNotFoundError("the previously live collection is not known; see `aff gallery list`")
        gallery = client.switch(before[0].space.id)
    _show(gallery, as_json)


@app.command()
def drop(space: Space, indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Delete a collection that is not live, with all its embeddings."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        client.drop(space)
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def backup(
    name: Annotated[str | None, typer.Argument(help="Name of the backup; default: the current time.")] = None,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Back up all collections into the indexer's backup directory."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        begun = client.backup(name or f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}")
        made = ended_job(client, begun, "backing up").result
    assert isinstance(made, Backup), "the result of this kind of job"
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        output.print(f"{made.name}: {made.count} images. To restore it: aff gallery restore {made.name}")


@app.command()
def backups(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Show the backups in the indexer's backup directory, the newest first."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        found = client.backups()
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        print_backups(found)


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="Name of the backup.")],
    force: Annotated[bool, typer.Option(help="Replace a gallery that is not empty.")] = False,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Replace the gallery with a backup."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        ended_job(client, client.restore(name, force=force), "restoring")
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def jobs(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Show the running job of the gallery, and the last finished ones since the indexer was started."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        known = client.jobs()
    if as_json:
        print_json([job.model_dump(mode="json") for job in known])
    else:
        print_jobs(known)


def _verified(client: IndexerClient, space: str, *, samples: int, neighbours: int) -> CollectionComparison:
    begun = client.verify(space, samples=samples, neighbours=neighbours)
    found = ended_job(client, begun, "comparing").result
    assert isinstance(found, CollectionComparison), "the result of this kind of job"
    return found


def _show(gallery: GalleryStatus, as_json: bool) -> None:
    if as_json:
        print_json(gallery.model_dump(mode="json"))
        return
    table = Table("space", "live", "images", "bundle", "fingerprint", title=f"gallery in {gallery.store}")
    for one in gallery.collections:
        bundle = one.bundle or "missing: not indexed into"
        table.add_row(one.space.id[:12], _live(one), str(one.count), bundle, (one.fingerprint or "")[:12])
    output.print(table)


def _live(collection: CollectionStatus) -> str:
    if collection.live:
        return "live"
    return "" if collection.live_since is None else f"formerly, since {collection.live_since:%Y-%m-%d %H:%M}"
