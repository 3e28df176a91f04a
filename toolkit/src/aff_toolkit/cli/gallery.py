"""`aff gallery`: the collections of a gallery, and the change from one model to another."""

from __future__ import annotations

from datetime import UTC, datetime
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
    GalleryJob,
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
from aff_toolkit.cli.gallery_job import JobFailedError, ended_job, tell_jobs
from aff_toolkit.cli.gallery_offline import export_files, import_files, rebuild
from aff_toolkit.cli.index import index as index_source

app = typer.Typer(help="Change the model of a gallery without a pause of its searches.", no_args_is_help=True)
app.command()(rebuild)
app.command("export")(export_files)
app.command("import")(import_files)

_DIFFERENT = 3
_SHOWN_IDS = 5

Space = Annotated[str, typer.Argument(help="Id of a collection's embedding space, or the beginning of it.")]


@app.command("list")
def list_collections(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Show the collections: the live one first, then those that were live last."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def create(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Begin an empty gallery where there is none, as after the loss of one; one that is there stays as it is."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        gallery = client.create()
    _show(gallery, as_json)


@app.command()
def build(
    bundle: Annotated[str, typer.Option(help="Name of a bundle that lies beside the one of the indexer.")],
    source: Annotated[str | None, typer.Argument(help="What to fill it from, as for `aff index`.")] = None,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Make a collection for another bundle beside the live one, and fill it; searches go on as before.

    From its creation on, it gets every image that is indexed. What it has already is not embedded again, so an
    interrupted build goes on.
    """
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        created = client.build(bundle)
    if source is not None:
        index_source(source, indexer_url=indexer_url, as_json=as_json)
    elif as_json:
        print_json(created.model_dump(mode="json"))
    short = created.space.id[:12]
    following = (
        f"Next: aff gallery verify {short}" if source else "Next: index the sources again, with `aff index SOURCE`"
    )
    messages.print(
        f"collection {short} for {created.bundle}, fingerprint {(created.fingerprint or '')[:12]}. {following}"
    )


@app.command()
def remix(
    mixer: Annotated[str, typer.Option(help="Name of a bundle with the same extractors, beside that of the indexer.")],
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Fuse the gallery again with another mixer, from kept tokens: no image is read. Status 3 where some have none."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        try:
            job = ended_job(client, client.remix(mixer), "fusing again")
        except JobFailedError:
            messages.print("what was fused stays; the same command goes on")
            raise
    assert isinstance(job.result, FusedCollection), "the result of such a job"
    if as_json:
        print_json(job.model_dump(mode="json"))
    else:
        _tell_fused(job, job.result)
    if job.result.missing:
        raise typer.Exit(_DIFFERENT)


@app.command()
def verify(
    space: Space,
    samples: Annotated[int, typer.Option(min=1, max=10_000, help="Images that are searched with.")] = 100,
    neighbours: Annotated[int, typer.Option(min=1, max=100, help="Hits that are compared.")] = 10,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Compare a collection with the live one; status 3 where the two do not hold the same images."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        found = _verified(client, space, samples=samples, neighbours=neighbours)
    if as_json:
        print_json(found.model_dump())
    else:
        _tell(found, space)
    if found.missing or found.surplus:
        raise typer.Exit(_DIFFERENT)


@app.command()
def switch(
    space: Space,
    force: Annotated[bool, typer.Option(help="Switch even where images are missing.")] = False,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Make a collection the live one, where it lacks no image of the present one; the former stays for `rollback`."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        if not force and (missing := _verified(client, space, samples=1, neighbours=1).missing):
            messages.print(f"{missing} images are missing in it; see `aff gallery verify {space}`, or take --force")
            raise typer.Exit(_DIFFERENT)
        gallery = client.switch(space)
    _show(gallery, as_json)


@app.command()
def rollback(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Make the collection live again that was it before."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        others = [one for one in client.gallery().collections if not one.live]
        before = [one for one in others if one.live_since is not None] or others
        if not before or (before[0].live_since is None and len(before) > 1):
            raise CollectionNotFoundError("it is not known which was live before; see `aff gallery list`")
        gallery = client.switch(before[0].space.id)
    _show(gallery, as_json)


@app.command()
def drop(space: Space, indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Remove a collection that is not live, with all its embeddings."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        client.drop(space)
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def backup(
    name: Annotated[str | None, typer.Argument(help="Of the backup; the time when it is not given.")] = None,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Write all collections into a backup, in the directory that the indexer has for them."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        begun = client.backup(name or f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}")
        made = ended_job(client, begun, "backing up").result
    assert isinstance(made, Backup), "the result of such a job"
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        output.print(f"{made.name}: {made.count} images. Back to it: aff gallery restore {made.name}")


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="Of the backup.")],
    force: Annotated[bool, typer.Option(help="Replace a gallery that has images.")] = False,
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    as_json: JsonOption = False,
) -> None:
    """Replace the gallery by a backup."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        ended_job(client, client.restore(name, force=force), "restoring")
        gallery = client.gallery()
    _show(gallery, as_json)


@app.command()
def jobs(indexer_url: IndexerUrl = DEFAULT_INDEXER_URL, as_json: JsonOption = False) -> None:
    """Show the job that runs on the gallery, and the last that ended since the indexer was started."""
    with exit_on_error(as_json), IndexerClient(indexer_url) as client:
        known = client.jobs()
    if as_json:
        print_json([job.model_dump(mode="json") for job in known])
    else:
        tell_jobs(known)


def _verified(client: IndexerClient, space: str, *, samples: int, neighbours: int) -> CollectionComparison:
    begun = client.verify(space, samples=samples, neighbours=neighbours)
    found = ended_job(client, begun, "comparing").result
    assert isinstance(found, CollectionComparison), "the result of such a job"
    return found


def _show(gallery: GalleryStatus, as_json: bool) -> None:
    if as_json:
        print_json(gallery.model_dump(mode="json"))
        return
    table = Table("space", "live", "images", "bundle", "fingerprint", title=f"gallery in {gallery.store}")
    for one in gallery.collections:
        bundle = one.bundle or "missing: gets no new images"
        table.add_row(one.space.id[:12], _live(one), str(one.count), bundle, (one.fingerprint or "")[:12])
    output.print(table)


def _live(collection: CollectionStatus) -> str:
    if collection.live:
        return "live"
    return "" if collection.live_since is None else f"since {collection.live_since:%Y-%m-%d %H:%M}, no more"


def _tell_fused(job: GalleryJob, fused: FusedCollection) -> None:
    if fused.missing:
        shown = ", ".join(fused.missing_ids[:_SHOWN_IDS])
        messages.print(f"{fused.missing} images have no kept tokens: {shown} ...; index their sources again")
    output.print(f"{job.done} images looked at. Next: aff gallery verify {fused.space.id[:12]}")


def _tell(found: CollectionComparison, space: str) -> None:
    output.print(f"live {found.live_count} images, {space} {found.count}")
    for count, ids, what in (
        (found.missing, found.missing_ids, "missing in it"),
        (found.surplus, found.surplus_ids, "only in it"),
    ):
        if count:
            output.print(f"{count} {what}: {', '.join(ids[:_SHOWN_IDS])}{' ...' if count > _SHOWN_IDS else ''}")
    if found.self_recall is not None and found.live_self_recall is not None and found.shared_neighbours is not None:
        output.print(
            f"{found.samples} images searched with themselves: first in {found.self_recall:.1%} (live "
            f"{found.live_self_recall:.1%}); {found.shared_neighbours:.1%} of the neighbours are the same"
        )
    if not found.missing and not found.surplus:
        output.print(f"The same images. Next: aff gallery switch {space}")
