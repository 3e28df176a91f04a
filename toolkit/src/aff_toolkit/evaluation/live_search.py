"""The live path: gallery and queries go over HTTP through the running services and their store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from aff_client import SearchClient, ServiceError
from aff_client.index_client import IndexerClient
from aff_shared.bundles.bundle import BundleManifest
from aff_shared.errors import AffError, BodyTooLargeError, ImageError
from aff_shared.schemas.problem import Problem
from aff_shared.schemas.searching import SearchResponse
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsMismatchError
from aff_toolkit.evaluation.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_record import Advance, Bar
from aff_toolkit.evaluation.rankings import NOT_RANKED, Rankings
from aff_toolkit.evaluation.relevance import Ragged
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.source_item import SourceItem

_BATCH = 16
_FAST_PNG = 1
# Errors of the photograph, not of the service.
_UNUSABLE = frozenset({BodyTooLargeError.code, ImageError.code, *(kind.code for kind in ImageError.__subclasses__())})


@dataclass(slots=True)
class _Found:
    """Results of the searches, by query."""

    rows: list[list[int]] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LiveSearch:
    """Indexes a benchmark's gallery by `POST /index` and searches with its queries by `POST /search`.

    Photographs are sent as PNG files of the very pixels that exact search encodes, crops included, so that
    differences are due to the services.

    Attributes:
        indexer: Connected to the gallery indexer.
        searcher: Connected to the query service.
        bar: Shows progress.
    """

    indexer: IndexerClient
    searcher: SearchClient
    bar: Bar

    def __call__(self, benchmark: Benchmark, manifest: BundleManifest, depth: int) -> Rankings:
        """Return rankings to a depth; an image behind it counts as not found.

        Args:
            benchmark: Benchmark, whose gallery has to be the whole content of the services' gallery.
            manifest: Manifest of the bundle that the services have to run.
            depth: Hits of each search.

        Raises:
            RankingsMismatchError: The services run another bundle, or their gallery holds other images.
            ServiceError: A service rejected a request for another reason than its photograph.
            ServiceUnreachableError: A service is not reachable; indexed images are kept, and another run resumes.
        """
        served = self.indexer.gallery().fingerprint
        if served != manifest.fingerprint:
            detail = f"runs the bundle {(served or 'none')[:12]}, not {manifest.name} ({manifest.fingerprint[:12]})"
            raise RankingsMismatchError(detail, item=self.indexer.url)
        start = time.perf_counter()
        with self.bar("indexing", len(benchmark.gallery)) as advance:
            not_indexed = self._index(benchmark.gallery, advance)
        indexed = time.perf_counter() - start
        self._require_nothing_else(len(benchmark.gallery) - len(not_indexed))
        with self.bar("searching", len(benchmark.queries)) as advance:
            found = self._search(benchmark.queries, min(depth, len(benchmark.gallery)), advance)
        return _rankings(found, benchmark.labelled(), not_indexed, indexed)

    def _index(self, gallery: Sequence[Photograph], advance: Advance) -> dict[int, str]:
        """Return why gallery images were not indexed, by row."""
        items = (
            SourceItem(str(row), photograph.name, partial(_png, photograph), {"name": photograph.name})
            for row, photograph in enumerate(gallery)
        )
        with IndexingRecord(kept_failures=len(gallery)) as record:
            index_items(self.indexer, items, record, IndexingOptions(), advance)
        failures = record.summary.failures.items()
        return {int(row): f"{gallery[int(row)].name}: {why.detail}" for row, why in sorted(failures, key=_row)}

    def _require_nothing_else(self, expected: int) -> None:
        count = self.indexer.gallery().count
        if count != expected:
            raise RankingsMismatchError(
                f"the gallery holds {count} images, the benchmark {expected}; start the services on an empty gallery",
                item=self.indexer.url,
            )

    def _search(self, queries: Sequence[Photograph], depth: int, advance: Advance) -> _Found:
        found = _Found()
        for number, query in enumerate(queries):
            answer = self._search_one(query, depth, found.seconds)
            if isinstance(answer, str):
                found.unreadable[number] = answer
            hits = [] if isinstance(answer, str) else answer.hits
            found.rows.append([int(hit.id) for hit in hits])
            found.scores.append([hit.score for hit in hits])
            advance(1)
        return found

    def _search_one(self, query: Photograph, depth: int, seconds: list[float]) -> SearchResponse | str:
        """Return the answer, or why the photograph cannot be searched with."""
        try:
            data = _png(query)
        except AffError as error:
            return f"{query.name}: {error.detail}"
        start = time.perf_counter()
        try:
            answer = self.searcher.search(data, name=query.name, limit=depth)
        except ServiceError as error:
            if error.problem.code not in _UNUSABLE:
                raise
            return f"{query.name}: {error.detail}"
        seconds.append(time.perf_counter() - start)
        return answer


def _row(failure: tuple[str, Problem]) -> int:
    return int(failure[0])


def _png(photograph: Photograph) -> bytes:
    """Return a PNG file; raises the AffError of a photograph that cannot be read."""
    bgr = cv2.cvtColor(photograph.load(), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _FAST_PNG])
    return encoded.tobytes()


def _rankings(found: _Found, labelled: Ragged, not_indexed: dict[int, str], index_seconds: float) -> Rankings:
    depth = max(map(len, found.rows))
    rows = np.full((len(found.rows), depth), NOT_RANKED, np.int64)
    scores = np.full((len(found.rows), depth), -np.inf, np.float32)
    ranks = []
    for query, hits in enumerate(found.rows):
        rows[query, : len(hits)], scores[query, : len(hits)] = hits, found.scores[query]
        rank_of = {row: rank for rank, row in enumerate(hits)}
        ranks.append(np.array([rank_of.get(row, NOT_RANKED) for row in labelled[query].tolist()], np.int64))
    waits = found.seconds or [0.0]
    seconds = {
        "index_gallery": index_seconds,
        "search": sum(waits),
        "query_p50": float(np.percentile(waits, 50)),
        "query_p95": float(np.percentile(waits, 95)),
    }
    return Rankings(rows, scores, labelled, Ragged.of(ranks), found.unreadable, not_indexed, seconds)
