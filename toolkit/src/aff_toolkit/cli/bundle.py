"""`aff bundle inspect`, `aff bundle verify` and `aff bundle repair`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.cli.console import JsonOption, exit_on_error, output, print_json
from aff_toolkit.cli.metrics_table import metrics_tables
from aff_toolkit.export.bundle_files import repair_bundle
from aff_toolkit.export.export_gate import EXPORT_FIGURES, Int8Verdict

app = typer.Typer(help="Look at a model bundle, check it, and mend it.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="Directory of the bundle.")]


@app.command()
def inspect(directory: Directory, as_json: JsonOption = False) -> None:
    """Show what a bundle holds and what was measured on it."""
    with exit_on_error(as_json):
        manifest = load_manifest(directory)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    output.print(f"{manifest.name}: fingerprint {manifest.fingerprint}")
    output.print(f"space {manifest.space.id[:12]}, {manifest.space.dimension}-d {manifest.space.metric}")
    output.print(f"query encoder: {manifest.query_encoder.architecture}")
    if EXPORT_FIGURES in manifest.metrics:
        output.print(Int8Verdict.model_validate(manifest.metrics[EXPORT_FIGURES]["int8"]).describe())
    for feature in manifest.features:
        output.print(f"gallery feature: {feature.name}, {feature.kind}, {feature.dimension}-d")
    for table in metrics_tables(manifest.metrics):
        output.print(table)
    for licence in manifest.licences:
        output.print(licence)


@app.command()
def verify(directory: Directory, as_json: JsonOption = False) -> None:
    """Check every file of a bundle against the manifest; status 1 when one differs."""
    with exit_on_error(as_json):
        manifest = load_manifest(directory)
        verify_files(directory, manifest)
    size = sum(file.size_bytes for file in manifest.files)
    if as_json:
        files = len(manifest.files)
        print_json({"fingerprint": manifest.fingerprint, "files": files, "size_bytes": size, "ok": True})
    else:
        output.print(
            f"{len(manifest.files)} files, {size / 1e6:.1f} MB, all as the manifest says: "
            f"{manifest.fingerprint[:12]}. Next: aff serve --bundle {directory}"
        )


@app.command()
def repair(
    directory: Directory,
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            help="Folder with copies: another copy of the bundle, the work directory of its training, a cache.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Put missing and altered files of a bundle back: copies are told by their sha256, whatever their names."""
    with exit_on_error(as_json):
        repaired = repair_bundle(directory, source)
    if as_json:
        print_json({"repaired": repaired})
    else:
        told = ", ".join(repaired) or "nothing was missing or altered"
        output.print(f"Put back: {told}. Next: aff bundle verify {directory}")
