"""Work on a gallery without a running indexer: `aff gallery rebuild`, and the progress of exports and imports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aff_shared.errors import RemixError, StoreRejectedError
from aff_shared.schemas.gallery import FusedCollection, GalleryJob
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    JsonOption,
    bundle_named,
    exit_on_error,
    images_bar,
    output,
    print_json,
)

if TYPE_CHECKING:
    from aff_shared.schemas.embedding_space import EmbeddingSpace
    from aff_shared.store.embedded.rebuild import RebuiltGallery
    from aff_shared.store.gallery_catalogue import GalleryCatalogue
    from aff_shared.store.settings import StoreSettings
    from gallery_indexer.settings import IndexerSettings

_INCOMPLETE = 3
_Result = TypeVar("_Result")


def rebuild(
    gallery_dir: Annotated[Path | None, typer.Option(help="Directory of the embedded gallery.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            callback=bundle_named, help="Path or name of the indexer's bundle.", show_default=str(DEFAULT_BUNDLE)
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Repair an embedded gallery with damaged files. Stop the services first.

    Damaged files are moved away. If another collection is intact, it becomes live, and the damaged one is filled from
    stored features (AFF_INDEX_KEPT_TOKENS_PATH). Exit status 3: some sources have to be indexed again.
    """
    from aff_shared.store.embedded.rebuild import rebuild_gallery  # noqa: PLC0415 - imports the store
    from aff_shared.store.settings import StoreSettings  # noqa: PLC0415

    with exit_on_error(as_json):
        store = StoreSettings(**_given(edge_path=gallery_dir))
        if store.url:
            raise StoreRejectedError("QDRANT_URL is set: Qdrant recovers the gallery of a server")
        rebuilt = asyncio.run(rebuild_gallery(store))
        filled = _fill(store, bundle, rebuilt)
    whole = {_fused(job).space for job in filled if job.state == "finished" and not _fused(job).missing}
    empty = [space.id[:12] for space in rebuilt.emptied if space not in whole] + rebuilt.nameless
    if as_json:
        print_json(_described(rebuilt, filled, empty))
    else:
        _show_rebuilt(rebuilt, filled, empty)
    if empty:
        raise typer.Exit(_INCOMPLETE)


def _fill(store: StoreSettings, bundle: Path | None, rebuilt: RebuiltGallery) -> list[GalleryJob]:
    lacking = [space for space in rebuilt.emptied if space != rebuilt.live]
    if not lacking:
        return []
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415

    settings = IndexerSettings(**_given(bundle_path=bundle), store=store, host="127.0.0.1")
    return asyncio.run(fill_from_tokens(settings, lacking))


async def fill_from_tokens(settings: IndexerSettings, spaces: Sequence[EmbeddingSpace]) -> list[GalleryJob]:
    """Recompute the embeddings of the live collection's images for each space whose bundle exists.

    Args:
        settings: Settings of the indexer, with its gallery, bundles and stored features.
        spaces: Embedding spaces of collections that are not live. Spaces without a bundle, or with other extractors
            than the live one's, are skipped.

    Returns:
        The finished jobs of the other spaces.

    Raises:
        BundleError: The bundle of the settings cannot be used.
        StoreError: The gallery cannot be opened.
    """
    from aff_shared.bundles.bundle_repository import BundleRepository  # noqa: PLC0415
    from gallery_indexer.app import create_app  # noqa: PLC0415 - torch takes seconds

    if settings.kept_tokens_path is None or not spaces:
        return []
    bundles, filled = BundleRepository(settings.bundle_path), []
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        components = app.state.components
        for space in spaces:
            bundle = await asyncio.to_thread(bundles.of_space, space.id)
            if bundle is None:
                continue
            try:
                job = await components.jobs.start(
                    "remix", bundle.name, partial(components.remix_gallery.prepare, bundle.name)
                )
            except RemixError:
                continue
            filled.append(await components.jobs.ended(job.id))
    return filled


def _fused(job: GalleryJob) -> FusedCollection:
    assert isinstance(job.result, FusedCollection), "a job of this kind has a collection"
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


def _show_rebuilt(rebuilt: RebuiltGallery, filled: list[GalleryJob], empty: list[str]) -> None:
    if rebuilt.aside is None:
        output.print(f"Nothing is damaged; the live collection has {rebuilt.images} images.")
        return
    output.print(f"The damaged files were moved to {rebuilt.aside}.")
    for job in filled:
        fused = _fused(job)
        output.print(f"{fused.space.id[:12]}: {job.done - fused.missing} images from stored features")
    if rebuilt.live is not None:
        output.print(f"The live collection is {rebuilt.live.id[:12]} with {rebuilt.images} images.")
    if empty:
        output.print(
            f"Incomplete: {', '.join(empty)}. Next: start the services, then aff index SOURCE for every source, or "
            f"aff gallery restore BACKUP --force"
        )


class ImportProgress:
    """Progress bar of counted images."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance
        self._total: int | None = None

    def expect(self, images: int) -> None:
        """Set the total number of images."""
        self._total = images

    def advance(self, images: int) -> None:
        """Count images that are done."""
        self._advance(images, self._total)


def store_settings(gallery_dir: Path | None) -> StoreSettings:
    """Return the settings of an embedded gallery, or those of the environment."""
    from aff_shared.store.settings import StoreSettings  # noqa: PLC0415 - imports the store

    return StoreSettings() if gallery_dir is None else StoreSettings(url="", edge_path=gallery_dir)


def with_store(
    description: str, settings: StoreSettings, work: Callable[[GalleryCatalogue, ImportProgress], Awaitable[_Result]]
) -> _Result:
    """Open the gallery, do some work with a progress bar, and return its result."""
    from aff_shared.store.gallery_catalogue import open_catalogue  # noqa: PLC0415 - imports the store

    async def run() -> _Result:
        catalogue = await open_catalogue(settings)
        try:
            with images_bar(description, None) as advance:
                return await work(catalogue, ImportProgress(advance))
        finally:
            await catalogue.close()

    return asyncio.run(run())
