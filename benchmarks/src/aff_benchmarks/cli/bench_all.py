"""`aff bench all`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import DEFAULT_BUNDLE, BundlePath, JsonOption, exit_on_error, messages, output, print_json

_SIZES = (10_000, 100_000)


def everything(
    bundle: BundlePath = DEFAULT_BUNDLE,
    out: Annotated[Path, typer.Option(help="Directory of the report.")] = Path("out/bench"),
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure this section only, and keep the others of an earlier run here; may be repeated."),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Of each measurement, of which the median counts.")] = 5,
    gallery: Annotated[int, typer.Option(min=10, help="Images of the gallery that is searched.")] = 50_000,
    size: Annotated[
        list[int] | None,
        typer.Option(min=100, help="Images of a gallery of the stores' comparison. [default: 10000, 100000]"),
    ] = None,
    grocery: Annotated[
        Path | None, typer.Option(help="List of real photographs with columns path, instance, role, if you have one.")
    ] = None,
    ablations: Annotated[Path, typer.Option(help="Results of `aff ablate`.")] = Path("docs/results/ablation"),
    as_json: JsonOption = False,
) -> None:
    """Measure everything that the README claims, side by side: `bench.json`, README.md and plots. Takes an hour."""
    from aff_benchmarks.report.report import SECTIONS, bench_all  # noqa: PLC0415 - torch takes seconds
    from aff_benchmarks.report.section import BenchContext  # noqa: PLC0415

    with exit_on_error(as_json):
        if unknown := set(only or ()) - set(SECTIONS):
            raise InvalidParameterError(
                f"there is no {', '.join(unknown)}; there are {', '.join(SECTIONS)}", item="--only"
            )
        context = BenchContext(bundle, out, repetitions, gallery, size or _SIZES, grocery, ablations)
        report = bench_all(context, only or (), messages.print)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        output.print(str(out / "README.md"))
