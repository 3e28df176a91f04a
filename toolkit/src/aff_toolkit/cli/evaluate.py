"""`aff evaluate BENCHMARK`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from aff_shared.errors import InvalidParameterError
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    BundlePath,
    JsonOption,
    exit_on_error,
    images_bar,
    messages,
    output,
    print_json,
)

if TYPE_CHECKING:
    from aff_shared.bundles.bundle import BundleManifest
    from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
    from aff_toolkit.evaluation.benchmarks.benchmark_choice import BenchmarkChoice
    from aff_toolkit.evaluation.evaluation_record import EvaluationConfig, Mode
    from aff_toolkit.evaluation.rankings.rankings import Rankings
    from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport

_ENCODERS_OF_ITS_OWN = (
    "the live services hold the query encoder on one side and the mixer on the other: asymmetric alone"
)


def evaluate(
    benchmark: Annotated[
        Literal["roxford5k", "rparis6k", "gldv2", "csv", "folder", "scenes", "score"],
        typer.Argument(help="What to evaluate on; `score` scores the rankings of an earlier run again."),
    ],
    path: Annotated[
        Path | None,
        typer.Argument(help="The benchmark's directory, CSV file or folder; for `score`, the report's directory."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The same as PATH.")] = None,
    bundle: BundlePath = DEFAULT_BUNDLE,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="Which encoders meet: asymmetric, symmetric or light-only (the query encoder on both sides); may be "
            "given several times. Default: all; with --live, asymmetric."
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Whether the report has a colour histogram and RootSIFT + VLAD beside the bundle, which need no "
            "training. Default: up to 20,000 photographs; with --live, never.",
        ),
    ] = None,
    distractors: Annotated[
        Path | None, typer.Option(help="Folder of distractors for roxford5k and rparis6k, at any depth.")
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Landmarks of scenes.")] = 150,
    depth: Annotated[int, typer.Option(min=1, help="Gallery images of each ranking that are kept.")] = 1000,
    precision: Annotated[
        Literal["auto", "fp32", "int8"], typer.Option(help="Of the query encoder; auto takes int8 where there is one.")
    ] = "auto",
    live: Annotated[
        bool, typer.Option("--live", help="Search over HTTP through both services and their store, not exactly.")
    ] = False,
    indexer_url: Annotated[
        str | None,
        typer.Option(
            help="With --live: a running indexer on an empty gallery, or on that of a killed run, which then goes on. "
            "Default: one is started, on a gallery for this run alone."
        ),
    ] = None,
    query_url: Annotated[str | None, typer.Option(help="With --live: the query service of the same gallery.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of rankings and report. Default: below out/evaluate, by benchmark and bundle."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export the rankings of a bundle on a benchmark, score them, and report."""
    from aff_toolkit.evaluation.benchmarks.benchmark_choice import BenchmarkChoice  # noqa: PLC0415
    from aff_toolkit.evaluation.evaluation_record import EvaluationConfig  # noqa: PLC0415
    from aff_toolkit.evaluation.report.score_evaluation import score_evaluation  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        place = _one_path(path, data)
        if benchmark == "score":
            if place is None:
                raise InvalidParameterError("give the directory of an evaluation", item="PATH")
            directory = place
        else:
            choice = BenchmarkChoice(name=benchmark, path=place, distractors=distractors, instances=instances)
            config = EvaluationConfig(
                benchmark=choice, search="live" if live else "exact", depth=depth, precision=precision
            )
            directory = out or _default_directory(choice, bundle, live=live)
            urls = _urls(indexer_url, query_url, live=live)
            modes, baselines = _modes(mode, live=live), _baselines(baselines, live=live)
            _export(config, bundle, directory, modes, baselines, urls)
        report = score_evaluation(directory)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _tell(report, directory)


def _one_path(path: Path | None, data: Path | None) -> Path | None:
    if path is not None and data is not None:
        raise InvalidParameterError("is the same as PATH: give one of them", item="--data")
    chosen = path or data
    return chosen.resolve() if chosen else None


def _default_directory(choice: BenchmarkChoice, bundle: Path, *, live: bool) -> Path:
    from aff_shared.bundles.bundle import load_manifest  # noqa: PLC0415

    manifest = load_manifest(bundle)
    return Path("out/evaluate") / f"{choice.label}-{manifest.name}-{manifest.fingerprint[:8]}{'-live' if live else ''}"


def _modes(given: list[str] | None, *, live: bool) -> list[Mode]:
    from aff_toolkit.evaluation.evaluation_record import MODES  # noqa: PLC0415

    unknown = next((name for name in given or () if name not in MODES), None)
    if unknown is not None:
        raise InvalidParameterError(f"{unknown!r} is none of {', '.join(MODES)}", item="--mode")
    if not live:
        return [name for name in MODES if not given or name in given]
    if any(name != "asymmetric" for name in given or ()):
        raise InvalidParameterError(_ENCODERS_OF_ITS_OWN, item="--mode")
    return ["asymmetric"]


def _baselines(given: bool | None, *, live: bool) -> bool | None:
    if live and given:
        raise InvalidParameterError("the services have no baselines: leave out --live", item="--baselines")
    return given


def _urls(indexer_url: str | None, query_url: str | None, *, live: bool) -> tuple[str, str] | None:
    if (indexer_url is None) != (query_url is None):
        raise InvalidParameterError("go together", item="--indexer-url and --query-url")
    if indexer_url is None or query_url is None:
        return None
    if not live:
        raise InvalidParameterError("says nothing without --live", item="--indexer-url")
    return indexer_url, query_url


def _export(
    config: EvaluationConfig,
    bundle: Path,
    directory: Path,
    modes: list[Mode],
    baselines: bool | None,
    urls: tuple[str, str] | None,
) -> None:
    from aff_toolkit.evaluation.rankings.export_rankings import ExportRankings  # noqa: PLC0415

    search_live = partial(_search_live, bundle, urls) if config.search == "live" else None
    ExportRankings(config, bundle, directory, images_bar).run(modes, search_live, baselines=baselines)


def _search_live(
    bundle: Path, urls: tuple[str, str] | None, benchmark: Benchmark, manifest: BundleManifest, depth: int
) -> Rankings:
    """Search through the services, after starting them on an embedded gallery of their own where none are given."""
    from aff_client import SearchClient  # noqa: PLC0415
    from aff_client.index_client import IndexerClient  # noqa: PLC0415
    from aff_toolkit.evaluation.rankings.live_search import LiveSearch  # noqa: PLC0415
    from aff_toolkit.local.local_service import local_services  # noqa: PLC0415

    with ExitStack() as stack:
        if urls is None:
            messages.print("starting both services ...")
            store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aff-evaluate-")))
            services = stack.enter_context(local_services(bundle, store / "gallery", store / "services.log"))
            urls = services.indexer_url, services.query_url
        indexer = stack.enter_context(IndexerClient(urls[0]))
        searcher = stack.enter_context(SearchClient(urls[1]))
        return LiveSearch(indexer, searcher, images_bar)(benchmark, manifest, depth)


def _tell(report: EvaluationReport, directory: Path) -> None:
    from aff_toolkit.evaluation.report.evaluation_report import figure_name  # noqa: PLC0415

    first = next(iter(report.modes.values()))
    figures = list(next(iter(first.setups.values())).figures)
    table = Table("percent", "setup", *map(figure_name, figures), "queries", title=report.protocol)
    for measured in report.modes.values():
        for setup, scores in measured.setups.items():
            cells = [f"{100 * scores.figures[name]:.2f}" for name in figures]
            table.add_row(measured.name, setup, *cells, str(scores.queries))
        for what, reasons in (
            ("queries", measured.unreadable_queries),
            ("gallery images", measured.unreadable_gallery),
        ):
            if reasons:
                messages.print(f"{measured.name}: {len(reasons)} {what} could not be read, the first: {reasons[0]}")
    output.print(table)
    output.print(
        f"{directory}: report.md, report.json, precision_recall.png, queries.png. Next: look at them; "
        f"aff evaluate score {directory} scores again"
    )
