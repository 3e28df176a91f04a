"""Indexes a source as a Ray Data job: on the cores of this machine, or on a cluster."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_shared.errors import AffError, MissingExtraError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexSummary
from aff_shared.schemas.problem import Problem
from aff_shared.store.settings import StoreSettings
from aff_toolkit.indexing.file_systems import has_protocol
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.ray_store import ActorStore, OpenedStore
from aff_toolkit.indexing.sources import SourceKind
from gallery_indexer.settings import IndexerSettings

_BATCH_FORMAT = "pyarrow"
_RESULT_ROWS = 256
# Differs from the stages before: Ray would fuse equal ones into one process, without overlap.
_CPUS_PER_ENCODER = 0.5


def index_with_ray(
    source: str,
    bundle: Path,
    record: IndexingRecord,
    on_progress: Callable[[int], None],
    *,
    encoders: int,
    gpus_per_encoder: float,
    prefix: str = "",
    details: bool = False,
    location: bool = True,
) -> None:
    """Index a source into the collection of a bundle, by the same steps as the service.

    The collection is created if it is missing, and live if none is; the store is that of the `QDRANT_*` settings.
    `RAY_ADDRESS` is the cluster to join; without it Ray is started on this machine. Images that the collection has with
    the same content are not decoded.

    Args:
        source: As for `source_items`; every node can read it, and the bundle.
        bundle: Directory of the model bundle.
        record: Records the result of each image.
        on_progress: Called with the number of images done since the last call.
        encoders: Number of actors with extractors and mixer.
        gpus_per_encoder: GPUs per actor; 0 for the CPU.
        prefix: As for `source_items`.
        details: As for IndexingOptions.
        location: As for IndexingOptions.

    Raises:
        MissingExtraError: Ray is not installed.
        BundleError: The bundle cannot be used.
        StoreError: The store cannot be opened.
        SourceError: The source cannot be read.
    """
    ray = _start_ray()
    try:
        prepare = {"details": details, "location": location}
        for batch in _results(ray, source, prefix, bundle, encoders, gpus_per_encoder, prepare):
            rows = batch.to_pylist()
            on_progress(sum(_note(record, row) for row in rows))
    except Exception as error:
        raise error_of_ours(error) or error from error
    finally:
        ray.shutdown()


def _start_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = import_module("ray")
        import_module("ray.data")
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray: pip install 'aff-toolkit[ray]'") from error
    address = os.environ.get("RAY_ADDRESS", "local")
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


def _results(
    ray: Any, source: str, prefix: str, bundle: Path, encoders: int, gpus: float, prepare: Mapping[str, bool]
) -> Any:
    from aff_toolkit.indexing import ray_stages  # noqa: PLC0415 - imports pyarrow, which Ray installs

    bundle, settings = bundle.absolute(), IndexerSettings()
    manifest = load_manifest(bundle)
    verify_files(bundle, manifest, manifest.gallery_files)
    open_store = _store_opener(ray, settings.store, manifest.space)
    stage: dict[str, Any] = {"batch_format": _BATCH_FORMAT, "batch_size": settings.batch_size}
    rows = _read(ray, source, prefix, stage)
    prepared = rows.map_batches(ray_stages.Prepare(manifest, settings, open_store, **prepare), **stage)
    embedded = prepared.map_batches(
        ray_stages.Embed,
        fn_constructor_args=(bundle, manifest, settings),
        compute=ray.data.ActorPoolStrategy(size=encoders),
        num_cpus=_CPUS_PER_ENCODER,
        num_gpus=gpus or None,
        **stage,
    )
    written = embedded.map_batches(ray_stages.Write(open_store), **stage)
    return written.iter_batches(batch_format=_BATCH_FORMAT, batch_size=_RESULT_ROWS)


def _read(ray: Any, source: str, prefix: str, stage: dict[str, Any]) -> Any:
    """Read a source on all cores: each task lists a local source, a single task lists a remote one."""
    from aff_toolkit.indexing import ray_stages  # noqa: PLC0415 - imports pyarrow, which Ray installs

    kind = SourceKind.of(source)
    tar = kind is SourceKind.TAR  # read from its beginning to its end
    listed_once = tar or (has_protocol(source) and kind is SourceKind.FILES)
    parts = 1 if listed_once else max(1, int(ray.cluster_resources().get("CPU", 1)))
    lister = ray_stages.ListPart(source, parts, read=tar or not listed_once, prefix=prefix)
    rows = ray.data.range(parts, override_num_blocks=parts).map_batches(
        lister, batch_format=_BATCH_FORMAT, batch_size=1
    )
    return rows if lister.read else rows.map_batches(ray_stages.read_listed, **stage)


def error_of_ours(error: BaseException) -> AffError | None:
    """Return the AffError that a task failed with, if any; Ray wraps it several times."""
    cause = getattr(error, "cause", None) or error.__cause__
    within = None if cause is None else error_of_ours(cause)
    return within or (error if isinstance(error, AffError) else None)


def _store_opener(ray: Any, settings: StoreSettings, space: EmbeddingSpace) -> Callable[[], Any]:
    """Return what opens the collection in a stage: a server from there, the embedded engine through one actor."""
    if settings.url:
        OpenedStore(settings, space).close()  # creates the collection, or raises
        return partial(OpenedStore, settings, space)
    settings = settings.model_copy(update={"edge_path": settings.edge_path.absolute()})
    actor = ray.remote(OpenedStore).options(num_cpus=0).remote(settings, space)
    return partial(ActorStore, actor)


def _note(record: IndexingRecord, row: dict[str, Any]) -> int:
    """Record what became of a row, and return the number of its images."""
    status = row["status"]
    if status == "passed_over":
        record.summary.passed_over.update(json.loads(row["payload"]))
        return 0
    if status == "rejected":
        problem = Problem(
            type=f"urn:aff:problem:{row['code']}",
            title="Not indexed",
            status=422,
            detail=row["detail"],
            code=row["code"],
            item=row["id"],
        )
        record.fail(row["id"], row["location"], problem, json.loads(row["payload"]))
        return 1
    record.add(IndexSummary.of([status]))
    return 1
