"""`aff gallery import` and `export`: a gallery in files, its own or those of another tool."""

from __future__ import annotations

import enum
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aff_shared.errors import GalleryMissingError, InvalidParameterError
from aff_toolkit.cli.console import (
    JsonOption,
    bundle_named,
    exit_on_error,
    messages,
    output,
    print_json,
)
from aff_toolkit.cli.gallery_offline import ImportProgress, store_settings, with_store

if TYPE_CHECKING:
    from aff_shared.schemas.embedding_space import EmbeddingSpace
    from aff_shared.store.gallery_catalogue import GalleryCatalogue
    from aff_shared.store.settings import StoreSettings
    from aff_toolkit.export.imported_encoder import ForeignEncoder
    from aff_toolkit.indexing.import_vectors import ImportedRows
    from aff_toolkit.indexing.vector_tables import VectorTable
    from gallery_indexer.collections.portable_manifest import Manifest

_INCOMPLETE = 3
_SHOWN_ROWS = 5
_COLOURS = 3

GalleryDir = Annotated[
    Path | None, typer.Option(help="Directory of an embedded gallery. Default: the gallery of the QDRANT_* settings.")
]


class Format(enum.StrEnum):
    """Files of an export."""

    PARQUET = "parquet"
    NPY = "npy"


def export_files(
    directory: Annotated[Path, typer.Argument(help="New directory.")],
    gallery_dir: GalleryDir = None,
    file_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="parquet: all collections, as a backup. npy: the live one, as embeddings.npy and rows.jsonl.",
        ),
    ] = Format.PARQUET,
    as_json: JsonOption = False,
) -> None:
    """Export a gallery to a new directory of Parquet files, in the format of backups, or of npy and JSON Lines.

    Stop services that use an embedded gallery first; services with a Qdrant server can run. An interrupted export
    to Parquet resumes.
    """
    settings = store_settings(gallery_dir)
    with exit_on_error(as_json):
        if not settings.url and not settings.edge_path.is_dir():
            raise GalleryMissingError(f"there is no gallery in {settings.edge_path}", item=str(settings.edge_path))
        if file_format is Format.NPY:
            from aff_toolkit.indexing.import_vectors import export_vectors  # noqa: PLC0415 - pyarrow takes a while

            count = with_store("exporting", settings, lambda one, bar: export_vectors(one, directory.absolute(), bar))
        else:
            from gallery_indexer.collections.export_gallery import export_gallery  # noqa: PLC0415 - as above

            schema = settings.payload_schema
            manifest = with_store(
                "exporting", settings, lambda one, bar: export_gallery(one, directory.absolute(), bar, schema)
            )
    if file_format is Format.PARQUET:
        _show_manifest(manifest, directory, as_json, "in")
    elif as_json:
        print_json({"directory": str(directory), "count": count})
    else:
        output.print(f"{count} images in {directory}")


def import_files(
    path: Annotated[Path, typer.Argument(help="Exported directory, or the vectors of another tool: Parquet or npy.")],
    name: Annotated[str | None, typer.Option(help="Name of their embedding space, such as clip-vit-b32.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(callback=bundle_named, help="Bundle that made the vectors, instead of --name.")
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="Ids and payloads of npy: text (an id a line), npy, JSON Lines, Parquet; or a directory."),
    ] = None,
    id_column: Annotated[str, typer.Option(help="Column or field of the id.")] = "id",
    embedding_column: Annotated[str, typer.Option(help="Column of the vectors in Parquet.")] = "embedding",
    query_encoder: Annotated[
        Path | None, typer.Option(help="ONNX graph that embeds photographs for these vectors.")
    ] = None,
    query_size: Annotated[int | None, typer.Option(min=16, max=4096, help="Side of its input in pixels.")] = None,
    query_mean: Annotated[str | None, typer.Option(help="Mean of its input, such as 0.48,0.46,0.41.")] = None,
    query_std: Annotated[str | None, typer.Option(help="Standard deviation of its input.")] = None,
    bundles_dir: Annotated[
        Path | None,
        typer.Option(help="Directory of the services' bundles. Default: the directory of the default bundle."),
    ] = None,
    gallery_dir: GalleryDir = None,
    force: Annotated[bool, typer.Option(help="Replace a gallery that is not empty.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the gallery with an exported one or a backup, or with vectors that another tool made.

    The new gallery is created and checked before it replaces the current one. Vectors of another tool need --name (or
    --bundle): a bundle of that name is written, which lets the services search them. Exit status 3: some rows were
    rejected. For stopping the services see `export`.
    """
    from gallery_indexer.collections.portable_manifest import MANIFEST  # noqa: PLC0415 - pyarrow takes a while

    with exit_on_error(as_json):
        if name is None and bundle is None:
            if path.exists() and not (path / MANIFEST).exists() and not _earlier(path):
                detail = "is not an exported gallery; for vectors of another tool, name their embedding space (--name)"
                raise InvalidParameterError(detail, item=str(path))
            manifest = _import_backup(path, store_settings(gallery_dir), force=force)
            _show_manifest(manifest, path, as_json, "from")
            return
        encoder = _encoder(query_encoder, query_size, query_mean, query_std)
        table, settings = _opened(path, ids, id_column, embedding_column), store_settings(gallery_dir)
        if not force:
            _require_replaceable(settings, path.name)  # before a bundle is written
        space, place, fingerprint = _space(name, bundle, bundles_dir, table.dimension, encoder)
        rows = _import_vectors(table, space, settings)
    described = {"space": space.model_dump(), "bundle": str(place), "fingerprint": fingerprint, **asdict(rows)}
    if as_json:
        print_json(described)
    else:
        _show_rows(rows, space, place, fingerprint)
    if rows.rejected:
        raise typer.Exit(_INCOMPLETE)


def _earlier(path: Path) -> bool:
    """Return whether an earlier release wrote a directory; reading its manifest reports what to do."""
    return (path / "snapshots.json").exists() or (path / "catalogue.json").exists()


def _import_backup(path: Path, settings: StoreSettings, *, force: bool) -> Manifest:
    from gallery_indexer.collections.backup_gallery import import_gallery, require_replaceable  # noqa: PLC0415

    directory = path.absolute()

    async def read(catalogue: GalleryCatalogue, progress: ImportProgress) -> Manifest:
        if not force:
            await require_replaceable(catalogue, path.name)
        return await import_gallery(catalogue, directory, progress)

    return with_store("importing", settings, read)


def _require_replaceable(settings: StoreSettings, name: str) -> None:
    from gallery_indexer.collections.backup_gallery import require_replaceable  # noqa: PLC0415 - pyarrow

    if settings.url or settings.edge_path.is_dir():
        with_store("checking", settings, lambda catalogue, _: require_replaceable(catalogue, name))


def _opened(path: Path, ids: Path | None, id_column: str, embedding_column: str) -> VectorTable:
    from aff_toolkit.indexing.vector_tables import open_vectors  # noqa: PLC0415 - pyarrow takes a while

    return open_vectors(path, rows=ids, id_column=id_column, vector_column=embedding_column)


def _encoder(model: Path | None, size: int | None, mean: str | None, deviation: str | None) -> ForeignEncoder | None:
    if model is None:
        return None
    from aff_toolkit.export.imported_encoder import ForeignEncoder  # noqa: PLC0415 - imports onnx

    return ForeignEncoder(model, size, _colours(mean, "--query-mean"), _colours(deviation, "--query-std"))


def _colours(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != _COLOURS or (option == "--query-std" and not all(numbers)):
        raise InvalidParameterError(f"{text!r} is not three comma-separated numbers", item=option)
    return numbers


def _space(
    name: str | None, bundle: Path | None, bundles_dir: Path | None, dimension: int, encoder: ForeignEncoder | None
) -> tuple[EmbeddingSpace, Path, str]:
    """Return the embedding space, the directory of its bundle, and the fingerprint of its encoder."""
    from aff_shared.bundles.bundle import load_served_manifest  # noqa: PLC0415
    from aff_shared.bundles.default_bundle import default_bundle  # noqa: PLC0415

    if bundle is not None:
        if name is not None or encoder is not None:
            raise InvalidParameterError("a bundle names the space and has the encoder already", item="--bundle")
        served = load_served_manifest(bundle)
        return served.space, bundle, served.fingerprint
    from aff_toolkit.export.imported_encoder import write_imported_bundle  # noqa: PLC0415 - imports onnx

    place = (bundles_dir or default_bundle().parent) / str(name)
    imported = write_imported_bundle(place, str(name), dimension, encoder)
    return imported.space, place, imported.fingerprint


def _import_vectors(table: VectorTable, space: EmbeddingSpace, settings: StoreSettings) -> ImportedRows:
    from aff_toolkit.indexing.import_vectors import import_vectors, require_width  # noqa: PLC0415 - pyarrow
    from gallery_indexer.indexing.payload_limits import PayloadLimits  # noqa: PLC0415
    from gallery_indexer.settings import IndexerSettings  # noqa: PLC0415

    require_width(table, space)
    limits = PayloadLimits(IndexerSettings(host="127.0.0.1").max_payload_bytes, settings.payload_schema)

    async def read(catalogue: GalleryCatalogue, progress: ImportProgress) -> ImportedRows:
        return await import_vectors(catalogue, table, space, limits, progress)

    return with_store("importing", settings, read)


def _show_rows(rows: ImportedRows, space: EmbeddingSpace, place: Path, fingerprint: str) -> None:
    for rejected in rows.rejected_rows[:_SHOWN_ROWS]:
        messages.print(f"rejected row {rejected.row} {rejected.id!r}: {rejected.reason}", style="red")
    if rows.rejected:
        messages.print(f"{rows.rejected} rows rejected; --json lists the first 1,000")
    output.print(
        f"{rows.count} images of {space.dimension} dimensions in the embedding space {space.id[:12]}, bundle {place}, "
        f"fingerprint {fingerprint}. Next: aff serve"
    )


def _show_manifest(manifest: Manifest, directory: Path, as_json: bool, where: str) -> None:
    if as_json:
        print_json(manifest.described(directory.name).model_dump(mode="json"))
        return
    for collection in manifest.collections:
        live = " (live)" if collection.live else ""
        output.print(f"{collection.space.id[:12]}{live}: {collection.count} images {where} {directory}")
