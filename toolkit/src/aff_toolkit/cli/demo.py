"""`aff demo`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aff_client import SearchClient
from aff_client.index_client import IndexerClient
from aff_toolkit.cli import search as search_command
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
from aff_toolkit.data.image_files import encodable
from aff_toolkit.data.photograph import read_photograph
from aff_toolkit.demo import DemoReport, render_demo_photographs, run_demo
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.sources import source_items
from aff_toolkit.local.local_service import local_services


def demo(
    images: Annotated[Path | None, typer.Option(help="Folder with your own photographs; requires --query.")] = None,
    query: Annotated[Path | None, typer.Option(help="Your own photograph to search with; requires --images.")] = None,
    bundle: BundlePath = DEFAULT_BUNDLE,
    out: Annotated[Path, typer.Option(help="Directory for the report and the pictures.")] = Path("out/demo"),
    as_json: JsonOption = False,
) -> None:
    """Start both services on free ports, index photographs, search them, and report the accuracy."""
    if (images is None) != (query is None):
        raise typer.BadParameter("--images and --query have to be set together")
    out.mkdir(parents=True, exist_ok=True)
    with exit_on_error(as_json), ExitStack() as stack:
        messages.print("starting both services ...")
        store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aff-demo-")))
        services = stack.enter_context(local_services(bundle, store / "gallery", out / "services.log"))
        indexer = stack.enter_context(IndexerClient(services.indexer_url))
        searcher = stack.enter_context(SearchClient(services.query_url))
        if images is not None and query is not None:
            _search_own(indexer, searcher, images, query, out, as_json)
        else:
            messages.print("rendering, indexing and searching procedural photographs ...")
            _print_report(run_demo(indexer, searcher, render_demo_photographs(), out), out, as_json)


def _search_own(
    indexer: IndexerClient, searcher: SearchClient, images: Path, query: Path, out: Path, as_json: bool
) -> None:
    data, name = read_photograph(query), encodable(query.name)
    with images_bar("indexing", None) as advance, IndexingRecord() as record:
        index_items(indexer, source_items(str(images)), record, IndexingOptions(), advance)
    for item_id, problem in record.summary.failures.items():
        messages.print(f"  not indexed: {item_id}: {problem.detail}")
    messages.print(f"{record.summary.images - record.summary.failed} indexed, {record.summary.failed} not")
    answer = searcher.search(data, name=name)
    thumbnails = search_command.thumbnails_of(searcher, answer.hits)
    search_command.draw_hits(name, data, answer.hits, thumbnails, out / "results.png")
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        search_command.print_hits(answer)
        output.print(f"pictures: {out / 'results.png'}")


def _print_report(report: DemoReport, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump())
        return
    table = Table("figure", "value", title="asymmetric retrieval over HTTP")
    table.add_row("gallery", f"{report.gallery_images} images, {report.instances} landmarks and distractors")
    table.add_row("queries", str(report.queries))
    table.add_row("recall@1", f"{100 * report.recall_at_1:.1f} %")
    table.add_row("recall@10", f"{100 * report.recall_at_10:.1f} %")
    table.add_row("mAP", f"{100 * report.map:.1f} %")
    table.add_row("query latency p50", f"{report.query_latency_ms.p50:.1f} ms")
    table.add_row("query latency p95", f"{report.query_latency_ms.p95:.1f} ms")
    table.add_row("indexing", f"{report.index_images_per_s:.0f} images/s")
    table.add_row("store", report.store)
    output.print(table)
    output.print(f"report: {out / 'report.json'}   pictures: {out / 'results.png'}")
    output.print("Your own photographs: make demo IMAGES=folder QUERY=photo.jpg")
    output.print("Or keep a gallery:    make serve, then aff index folder and aff search photo.jpg --open")
