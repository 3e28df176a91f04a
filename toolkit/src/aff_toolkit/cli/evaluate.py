"""`aff evaluate BENCHMARK`: of a bundle, of given features, or of given rankings."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from aff_toolkit.evaluation import BenchmarkName

if TYPE_CHECKING:
    from aff_shared.bundles.bundle import BundleManifest
    from aff_toolkit.evaluation.benchmark import Benchmark
    from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
    from aff_toolkit.evaluation.evaluation_record import EvaluationConfig, Mode
    from aff_toolkit.evaluation.evaluation_report import EvaluationReport
    from aff_toolkit.evaluation.rankings import Rankings

_ASYMMETRIC_ONLY = (
    "live search uses the query encoder for queries and the mixer for the gallery: only asymmetric is possible"
)


def evaluate(
    benchmark: Annotated[
        Literal[BenchmarkName, "score"],
        typer.Argument(help="Benchmark; `score` scores the rankings of an earlier run again."),
    ],
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Directory, CSV file or folder of the benchmark; for `score`, the directory of the report."
        ),
    ] = None,
    bundle: BundlePath = DEFAULT_BUNDLE,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="Pairing of the encoders: asymmetric, symmetric (mixer on both sides) or light-only (query encoder "
            "on both sides); can be repeated. Default: all; with --live, asymmetric."
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Compare with a colour histogram and RootSIFT + VLAD, which need no training. Default: for up to "
            "20,000 photographs; with --live, never.",
        ),
    ] = None,
    distractors: Annotated[
        Path | None, typer.Option(help="Folder of distractors for roxford5k and rparis6k, searched recursively.")
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Number of landmarks for scenes.")] = 150,
    depth: Annotated[int, typer.Option(min=1, help="Gallery images kept per ranking.")] = 1000,
    precision: Annotated[
        Literal["auto", "fp32", "int8"],
        typer.Option(help="Precision of the query encoder; auto uses int8 if available."),
    ] = "auto",
    live: Annotated[
        bool, typer.Option("--live", help="Search over HTTP through both services and their store, instead of exactly.")
    ] = False,
    indexer_url: Annotated[
        str | None,
        typer.Option(
            help="With --live: a running indexer with an empty gallery, or with the gallery of a killed run, which "
            "then resumes. Default: both services are started on a temporary gallery."
        ),
    ] = None,
    query_url: Annotated[str | None, typer.Option(help="With --live: the query service of the same gallery.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for rankings and report. Default: out/evaluate/BENCHMARK-BUNDLE."),
    ] = None,
    features: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="GALLERY QUERIES",
            help="Score features that another program computed, instead of a bundle: .npy, .npz or .parquet files of "
            "the gallery and of the queries.",
        ),
    ] = None,
    similarity: Annotated[
        Literal["cosine", "inner-product"], typer.Option(help="With --features: how they are compared.")
    ] = "cosine",
    rankings: Annotated[
        Path | None,
        typer.Option(help="Score rankings that another program computed, instead of a bundle: a .npy or .json file."),
    ] = None,
    save_features: Annotated[
        Path | None,
        typer.Option(help="Directory for the bundle's features, in files that --features reads, and their names."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a bundle, or given features or rankings, on a benchmark, and write a report."""
    from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice  # noqa: PLC0415
    from aff_toolkit.evaluation.evaluation_record import EvaluationConfig  # noqa: PLC0415
    from aff_toolkit.evaluation.given_rankings import export_given  # noqa: PLC0415
    from aff_toolkit.evaluation.score_evaluation import score_evaluation  # noqa: PLC0415 - torch takes seconds

    with exit_on_error(as_json):
        place = path and path.resolve()
        if benchmark == "score":
            if place is None:
                raise InvalidParameterError("pass the directory of an evaluation", item="PATH")
            directory = place
        else:
            choice = BenchmarkChoice(name=benchmark, path=place, distractors=distractors, instances=instances)
            config = EvaluationConfig(
                benchmark=choice,
                search="live" if live else "exact",
                depth=depth,
                precision=precision,
                given="features" if features else "rankings" if rankings else None,
                similarity=similarity,
            )
            of_bundle = {"--live": live, "--mode": mode, "--baselines": baselines, "--save-features": save_features}
            _require_unset({"--rankings": features and rankings}, "--features")
            _require_unset({"--similarity": similarity != "cosine" and not features}, "a bundle or rankings")
            if config.given is not None:
                _require_unset(of_bundle | {"--precision": precision != "auto"}, "--features or --rankings")
                directory, notes = export_given(config, features or (rankings or Path(),), out, images_bar)
                messages.print(*notes, sep="\n", end="\n" * bool(notes))
            else:
                _require_unset({"--save-features": live and save_features}, "--live")
                directory = out or _default_directory(choice, bundle, live=live)
                urls = _urls(indexer_url, query_url, live=live)
                modes, baselines = _modes(mode, live=live), _baselines(baselines, live=live)
                _export(config, bundle, directory, modes, baselines, urls, save_features)
        report = score_evaluation(directory)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print_report(report, directory)


def _require_unset(options: dict[str, Any], beside: str) -> None:
    name = next((name for name, value in options.items() if value), None)
    if name is not None:
        raise InvalidParameterError(f"cannot be combined with {beside}", item=name)


def _default_directory(choice: BenchmarkChoice, bundle: Path, *, live: bool) -> Path:
    from aff_shared.bundles.bundle import load_manifest  # noqa: PLC0415

    manifest = load_manifest(bundle)
    return Path("out/evaluate") / f"{choice.label}-{manifest.name}-{manifest.fingerprint[:8]}{'-live' if live else ''}"


def _modes(given: list[str] | None, *, live: bool) -> list[Mode]:
    from aff_toolkit.evaluation.evaluation_record import MODES  # noqa: PLC0415

    unknown = next((name for name in given or () if name not in MODES), None)
    if unknown is not None:
        raise InvalidParameterError(f"{unknown!r} is not one of {', '.join(MODES)}", item="--mode")
    if not live:
        return [name for name in MODES if not given or name in given]
    if any(name != "asymmetric" for name in given or ()):
        raise InvalidParameterError(_ASYMMETRIC_ONLY, item="--mode")
    return ["asymmetric"]


def _baselines(given: bool | None, *, live: bool) -> bool | None:
    if live and given:
        raise InvalidParameterError("the services have no baselines: remove --live", item="--baselines")
    return given


def _urls(indexer_url: str | None, query_url: str | None, *, live: bool) -> tuple[str, str] | None:
    if (indexer_url is None) != (query_url is None):
        raise InvalidParameterError("have to be set together", item="--indexer-url and --query-url")
    if indexer_url is None or query_url is None:
        return None
    if not live:
        raise InvalidParameterError("has no effect without --live", item="--indexer-url")
    return indexer_url, query_url


def _export(
    config: EvaluationConfig,
    bundle: Path,
    directory: Path,
    modes: list[Mode],
    baselines: bool | None,
    urls: tuple[str, str] | None,
    features: Path | None,
) -> None:
    from aff_toolkit.evaluation.export_rankings import ExportRankings  # noqa: PLC0415

    search_live = partial(_search_live, bundle, urls) if config.search == "live" else None
    ExportRankings(config, bundle, directory, images_bar).run(
        modes, search_live, baselines=baselines, features=features
    )


def _search_live(
    bundle: Path, urls: tuple[str, str] | None, benchmark: Benchmark, manifest: BundleManifest, depth: int
) -> Rankings:
    """Search through the services; without URLs, start them on a temporary embedded gallery."""
    from aff_client import SearchClient  # noqa: PLC0415
    from aff_client.index_client import IndexerClient  # noqa: PLC0415
    from aff_toolkit.evaluation.live_search import LiveSearch  # noqa: PLC0415
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


def _print_report(report: EvaluationReport, directory: Path) -> None:
    from aff_toolkit.evaluation.evaluation_report import figure_name  # noqa: PLC0415

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
        f"{directory}: report.md, report.json, precision_recall.png, queries.png. To score "
        f"again: aff evaluate score {directory}"
    )
