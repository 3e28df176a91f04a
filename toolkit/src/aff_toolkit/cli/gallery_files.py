"""`aff gallery export` and `aff gallery import`: a gallery in a directory of files, without a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aff_shared.errors import GalleryMissingError
from aff_shared.store.gallery_catalogue import GalleryCatalogue
from aff_shared.store.open_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_toolkit.cli.console import JsonOption, exit_on_error, images_bar, output, print_json
from gallery_indexer.collections.portable_manifest import Manifest

Directory = Annotated[Path, typer.Argument(help="Of the files: a manifest, and Parquet.")]
Gallery = Annotated[
    Path | None, typer.Option(help="Directory of an embedded gallery; without it, the one of QDRANT_URL or QDRANT_*.")
]


def export_files(directory: Directory, gallery: Gallery = None, as_json: JsonOption = False) -> None:
    """Write a gallery into a new directory, as a backup: Parquet files that pandas and others read.

    Services that use an embedded gallery have to be stopped; those on a Qdrant server may run. Given again after an
    interruption, it goes on.
    """
    from gallery_indexer.collections.export_gallery import export_gallery  # noqa: PLC0415 - pyarrow takes a while

    settings = _settings(gallery)

    async def write(catalogue: GalleryCatalogue, progress: _Bar) -> Manifest:
        return await export_gallery(catalogue, directory.absolute(), progress, settings.payload_schema)

    with exit_on_error(as_json):
        if not settings.url and not settings.edge_path.is_dir():
            raise GalleryMissingError(f"there is no gallery in {settings.edge_path}", item=str(settings.edge_path))
        manifest = _with_bar("exporting", settings, write)
    _tell(manifest, directory, as_json, "in")


def import_files(
    directory: Directory,
    gallery: Gallery = None,
    force: Annotated[bool, typer.Option(help="Replace a gallery that has images.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a gallery from a directory of files, which may be a backup, into the place of the present one.

    It is built beside that one and compared before. Services as for `export`; its model bundle has to be theirs.
    """
    from gallery_indexer.collections.import_gallery import import_gallery, require_replaceable  # noqa: PLC0415 - as above

    async def read(catalogue: GalleryCatalogue, progress: _Bar) -> Manifest:
        if not force:
            await require_replaceable(catalogue, directory.name)
        return await import_gallery(catalogue, directory.absolute(), progress)

    with exit_on_error(as_json):
        manifest = _with_bar("importing", _settings(gallery), read)
    _tell(manifest, directory, as_json, "from")


class _Bar:
    """Shows images as they are counted."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance
        self._total: int | None = None

    def expect(self, images: int) -> None:
        self._total = images

    def advance(self, images: int) -> None:
        self._advance(images, self._total)


def _settings(gallery: Path | None) -> StoreSettings:
    return StoreSettings() if gallery is None else StoreSettings(url="", edge_path=gallery)


def _with_bar(
    description: str, settings: StoreSettings, work: Callable[[GalleryCatalogue, _Bar], Awaitable[Manifest]]
) -> Manifest:
    async def run() -> Manifest:
        catalogue = await open_catalogue(settings)
        try:
            with images_bar(description, None) as advance:
                return await work(catalogue, _Bar(advance))
        finally:
            await catalogue.close()

    return asyncio.run(run())


def _tell(manifest: Manifest, directory: Path, as_json: bool, where: str) -> None:
    if as_json:
        print_json(manifest.described(directory.name).model_dump(mode="json"))
        return
    for collection in manifest.collections:
        live = " (live)" if collection.live else ""
        output.print(f"{collection.space.id[:12]}{live}: {collection.count} images {where} {directory}")
