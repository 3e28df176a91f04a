"""`aff gallery rebuild`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from aff_shared.errors import StoreRejectedError
from aff_shared.schemas.gallery_jobs import FusedCollection, GalleryJob
from aff_shared.store.embedded.edge_rebuild import RebuiltGallery, rebuild_gallery
from aff_shared.store.settings import StoreSettings
from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json
from aff_toolkit.cli.options import DEFAULT_BUNDLE

_TO_BE_INDEXED = 3


def rebuild(
    gallery: Annotated[Path | None, typer.Option(help="Directory of the embedded gallery.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Directory of the indexer's model bundle.", show_default=str(DEFAULT_BUNDLE))
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an embedded gallery whole again whose files are damaged; stop the services before.

    Damaged files are set aside. Where another collection is whole, searches go there, and the damaged one is filled
    from kept tokens (AFF_INDEX_KEPT_TOKENS_PATH). Status 3 where sources have to be indexed again.
    """
    with exit_on_error(as_json):
        store = StoreSettings(**_given(edge_path=gallery))
        if store.url:
            raise StoreRejectedError("QDRANT_URL names a server, whose gallery Qdrant itself recovers")
        rebuilt = asyncio.run(rebuild_gallery(store))
        filled = _fill(store, bundle, rebuilt)
    whole = {_fused(job).space for job in filled if job.state == "finished" and not _fused(job).missing}
    empty = [space.id[:12] for space in rebuilt.emptied if space not in whole] + rebuilt.nameless
    if as_json:
        print_json(_described(rebuilt, filled, empty))
    else:
        _tell(rebuilt, filled, empty)
    if empty:
        raise typer.Exit(_TO_BE_INDEXED)


def _fill(store: StoreSettings, bundle: Path | None, rebuilt: RebuiltGallery) -> list[GalleryJob]:
    lacking = [space for space in rebuilt.emptied if space != rebuilt.live]
    if not lacking:
        return []
    from aff_toolkit.indexing.fill_from_tokens import fill_from_tokens  # noqa: PLC0415 - torch takes seconds
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415

    settings = IndexerSettings(**_given(bundle_path=bundle), store=store, host="127.0.0.1")
    return asyncio.run(fill_from_tokens(settings, lacking))


def _fused(job: GalleryJob) -> FusedCollection:
    assert isinstance(job.result, FusedCollection), "a job that was started has a collection"
    return job.result


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _described(rebuilt: RebuiltGallery, filled: list[GalleryJob], empty: list[str]) -> dict[str, Any]:
    return {
        "aside": None if rebuilt.aside is None else str(rebuilt.aside),
        "live": None if rebuilt.live is None else rebuilt.live.id,
        "images": rebuilt.images,
        "filled": [job.model_dump(mode="json") for job in filled],
        "to_be_indexed": empty,
    }


def _tell(rebuilt: RebuiltGallery, filled: list[GalleryJob], empty: list[str]) -> None:
    if rebuilt.aside is None:
        output.print(f"Nothing is damaged; the live collection has {rebuilt.images} images.")
        return
    output.print(f"The damaged files lie in {rebuilt.aside} now.")
    for job in filled:
        fused = _fused(job)
        output.print(f"{fused.space.id[:12]}: {job.done - fused.missing} images from kept tokens")
    if rebuilt.live is not None:
        output.print(f"Searches go to {rebuilt.live.id[:12]}, which has {rebuilt.images} images.")
    if empty:
        output.print(
            f"Not whole: {', '.join(empty)}. Next: start the services, then aff index SOURCE for every source, or "
            f"aff gallery restore BACKUP --force"
        )
