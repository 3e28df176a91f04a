"""`aff bundle`, and `aff checkpoints`, which converts released checkpoints into extractors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from aff_shared.bundles.bundle import load_manifest, verify_files, write_manifest
from aff_toolkit.cli.console import JsonOption, bundle_named, exit_on_error, messages, output, print_json
from aff_toolkit.export.bundle_files import repair_bundle
from aff_toolkit.export.export_gate import EXPORT_FIGURES, Int8Verdict

app = typer.Typer(help="Inspect, verify and repair model bundles.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(callback=bundle_named, help="Path or name of the bundle.")]
_FIGURES = {"map": "mAP", "map_at_100": "mAP@100", "recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10"}


@app.command()
def inspect(directory: Directory, as_json: JsonOption = False) -> None:
    """Show the contents of a bundle and its measured figures."""
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
    """Check every file of a bundle against the manifest; exit status 1 if any differs."""
    with exit_on_error(as_json):
        manifest = load_manifest(directory)
        verify_files(directory, manifest)
    size = sum(file.size_bytes for file in manifest.files)
    if as_json:
        files = len(manifest.files)
        print_json({"fingerprint": manifest.fingerprint, "files": files, "size_bytes": size, "ok": True})
    else:
        output.print(
            f"{len(manifest.files)} files, {size / 1e6:.1f} MB, all as in the manifest: "
            f"{manifest.fingerprint[:12]}. Next: aff serve --bundle {directory}"
        )


@app.command()
def repair(
    directory: Directory,
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            help="Folder with copies, such as another copy of the bundle or the work directory of its training.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Restore missing and altered files of a bundle from copies, which are found by their sha256 under any name."""
    with exit_on_error(as_json):
        repaired = repair_bundle(directory, source)
    if as_json:
        print_json({"repaired": repaired})
    else:
        restored = ", ".join(repaired) or "nothing, no file was missing or altered"
        output.print(f"Restored: {restored}. Next: aff bundle verify {directory}")


def metrics_tables(metrics: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table for each protocol in a manifest's metrics, which also contain figures of the export."""
    yield from (metrics_table(measured) for name, measured in metrics.items() if name != EXPORT_FIGURES)


def metrics_table(protocol: Mapping[str, Any]) -> Table:
    """Return a table with a row per pairing of the encoders, in percent, and the base's figures below."""
    table = Table("percent", *_FIGURES.values(), title=protocol["protocol"], title_justify="left")
    for heading, key in (("{}", "scores"), ("{}, before", "before")):
        for pairing, scores in protocol.get(key, {}).items():
            table.add_row(heading.format(pairing), *(f"{100 * scores[figure]:.1f}" for figure in _FIGURES))
    return table


def fallen(metrics: Mapping[str, Any]) -> list[str]:
    """Return the protocols on which asymmetric search is less accurate than with the base."""
    return [
        protocol["protocol"]
        for name, protocol in metrics.items()
        if name != EXPORT_FIGURES
        and protocol.get("before")
        and protocol["scores"]["asymmetric"]["map"] < protocol["before"]["asymmetric"]["map"]
    ]


@app.command()
def calibrate(
    directory: Directory,
    data: Annotated[
        Path,
        typer.Argument(
            help="CSV file with the columns path, instance and role (query, gallery, distractor), of photographs that "
            "the bundle was not trained on."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Measure what the scores of a bundle's searches mean, and write it into its manifest.

    Hits then have a strength: same, likely or weak. Neither the fingerprint nor the embedding space changes; a
    signature has to be made again.
    """
    from aff_toolkit.evaluation.protocols import open_set_protocol  # noqa: PLC0415 - torch takes seconds
    from aff_toolkit.training.stages.evaluate_bundle import BundleAt, evaluate_bundles  # noqa: PLC0415

    with exit_on_error(as_json):
        manifest = load_manifest(directory)
        verify_files(directory, manifest)
        protocol = open_set_protocol(data)
        messages.print(f"embedding {len(protocol.queries)} queries and {len(protocol.gallery)} gallery images")
        (evaluation,) = evaluate_bundles([BundleAt(directory, manifest)], protocol)
        levels = evaluation.score_levels
        write_manifest(directory, manifest.model_copy(update={"score_levels": levels}))
    if as_json:
        print_json(levels.model_dump())
    else:
        output.print(f"same from {levels.same}, likely from {levels.likely}: {levels.protocol}")


checkpoints_app = typer.Typer(help="Convert released checkpoints into extractors.", no_args_is_help=True)


@checkpoints_app.command("list")
def list_formats(as_json: JsonOption = False) -> None:
    """Show the supported formats."""
    from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS  # noqa: PLC0415 - torch takes seconds

    if as_json:
        print_json([{"name": form.name, "source": form.source} for form in CHECKPOINT_FORMATS.values()])
        return
    for form in CHECKPOINT_FORMATS.values():
        output.print(f"{form.name:22} {form.source}")


@checkpoints_app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Released checkpoint, .pth or .pyth.")],
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Directory for the weights and the specification.")],
    form: Annotated[str, typer.Option("--as", help="Format of the checkpoint; see `aff checkpoints list`.")],
    as_json: JsonOption = False,
) -> None:
    """Check all weights of a checkpoint, and write them as safetensors with the specification of an extractor."""
    from aff_toolkit.weights.convert_checkpoint import convert_checkpoint, format_named  # noqa: PLC0415 - torch

    with exit_on_error(as_json):
        spec = convert_checkpoint(file, format_named(form), directory)
    if as_json:
        print_json(spec.model_dump(mode="json"))
        return
    path = directory / str(spec.weights)
    output.print(
        f"{path}: weights; {path.with_suffix('.json')}: specification. Next: set the specification in a recipe"
    )
