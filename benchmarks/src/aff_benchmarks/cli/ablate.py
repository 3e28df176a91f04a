"""`aff ablate BENCHMARK`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aff_shared.resource_limits import usable_cores
from aff_toolkit.cli.console import JsonOption, exit_on_error, messages, output, print_json


def ablate(
    benchmark: Annotated[
        str, typer.Argument(help="Name of a configuration in benchmarks/configs/ablation, or path of a TOML file.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the report.")] = Path("out/ablation/report"),
    work_dir: Annotated[
        Path | None, typer.Option(help="Directory of features and runs; a killed ablation goes on from it.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Trainings at a time, of one thread each.")] = usable_cores(),
    only: Annotated[
        list[str] | None, typer.Option(help="Train these variants only; may be given several times.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the variants behind the paper's findings with several seeds, and judge each finding."""
    from aff_benchmarks.ablation.ablate import Ablate  # noqa: PLC0415
    from aff_benchmarks.ablation.ablation_config import load_ablation_config  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        config = load_ablation_config(benchmark)
        directory = work_dir or Path("out/ablation") / config.name
        reports = Ablate(config, directory, processes, messages).run(out, only=only)
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
        return
    for report in reports:
        for finding in (*report.findings, *report.questions):
            verdict = finding.verdict if finding.was_run else "not run"
            output.print(f"{finding.number or ' '}  {verdict:12}  {finding.claim}")
        output.print(f"{out / report.benchmark}.md: the report. Next: look at it and at {report.benchmark}.png")
