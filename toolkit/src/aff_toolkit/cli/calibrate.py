"""`aff bundle calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_shared.bundles.bundle import load_manifest, verify_files, write_manifest
from aff_toolkit.cli.console import JsonOption, bundle_named, exit_on_error, messages, output, print_json


def calibrate(
    directory: Annotated[Path, typer.Argument(callback=bundle_named, help="Path or name of the bundle.")],
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
