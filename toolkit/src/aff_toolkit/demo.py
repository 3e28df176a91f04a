"""The demo: index photographs over HTTP, search them over HTTP, score, and draw what was found."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel

from aff_client import SearchClient
from aff_client.index_client import IndexerClient, Upload
from aff_shared.errors import AffError
from aff_shared.images.decoding import ImageLimits, decode_image
from aff_shared.schemas.searching import SearchHit
from aff_toolkit.data.contact_sheet import Cell, contact_sheet
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.protocols import scenes_protocol
from aff_toolkit.evaluation.retrieval_scores import score_rankings

_UPLOADS = 32
_LIMIT = 10
_SHOWN_QUERIES = 12
_SHOWN_HITS = 5
_INSTANCES = 72
_QUERIES_EACH = 1
_GALLERY_EACH = 4
_DISTRACTORS = 120
_DIFFICULTY = 0.5
_JPEG_QUALITY = 90


class DemoError(AffError):
    """A service failed during the demo."""

    code = "demo_failed"
    title = "The demo failed"


class Latency(BaseModel):
    """Milliseconds from sending a photograph to receiving its hits, measured by the client."""

    p50: float
    p95: float


class DemoReport(BaseModel):
    """Measurements of the demo; shares from 0 to 1."""

    gallery_images: int
    instances: int
    queries: int
    recall_at_1: float
    recall_at_10: float
    map: float
    query_latency_ms: Latency
    index_images_per_s: float
    fingerprint: str
    store: str


@dataclass(frozen=True, slots=True)
class _Searched:
    query: Upload
    hits: list[SearchHit]
    ranking: list[SearchHit]
    seconds: float


def run_demo(indexer: IndexerClient, searcher: SearchClient, photographs: DemoPhotographs, out: Path) -> DemoReport:
    """Index and search; write `report.json` and `results.png` into `out`.

    Raises:
        DemoError: An image was not indexed.
        ServiceError: A service rejected a request.
    """
    images_per_s = _index(indexer, photographs.gallery)
    status = indexer.gallery()
    searched = [_search(searcher, query, status.count) for query in photographs.queries]
    instances = [upload.payload["instance"] for upload in photographs.gallery]
    scores = score_rankings(
        [np.array([_is_match(s.query, hit) for hit in s.ranking]) for s in searched],
        [instances.count(s.query.payload["instance"]) for s in searched],
        len(instances),
    )
    milliseconds = [1000 * s.seconds for s in searched]
    report = DemoReport(
        gallery_images=status.count,
        instances=len({query.payload["instance"] for query in photographs.queries}),
        queries=scores.queries,
        recall_at_1=scores.recall_at_1,
        recall_at_10=scores.recall_at_10,
        map=scores.map,
        query_latency_ms=Latency(
            p50=float(np.percentile(milliseconds, 50)), p95=float(np.percentile(milliseconds, 95))
        ),
        index_images_per_s=images_per_s,
        fingerprint=status.fingerprint,
        store=status.store,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report.model_dump(), indent=2) + "\n", encoding="utf-8")
    _draw(searched, photographs.gallery, out / "results.png")
    return report


def _index(indexer: IndexerClient, gallery: Sequence[Upload]) -> float:
    start = time.perf_counter()
    for first in range(0, len(gallery), _UPLOADS):
        answer = indexer.index(gallery[first : first + _UPLOADS])
        for receipt in answer.receipts:
            if receipt.error is not None:
                raise DemoError(receipt.error.detail, item=receipt.name)
    return len(gallery) / (time.perf_counter() - start)


def _search(searcher: SearchClient, query: Upload, gallery_images: int) -> _Searched:
    """Search twice: as a user would, timed; then for the whole ranking, which mAP needs."""
    start = time.perf_counter()
    answer = searcher.search(query.data, name=query.name, limit=_LIMIT)
    seconds = time.perf_counter() - start
    ranking = searcher.search(query.data, name=query.name, limit=gallery_images)
    return _Searched(query, answer.hits, ranking.hits, seconds)


def _is_match(query: Upload, hit: SearchHit) -> bool:
    return bool(hit.payload["instance"] == query.payload["instance"])


def _draw(searched: Sequence[_Searched], gallery: Sequence[Upload], path: Path) -> None:
    files = {upload.id: upload.data for upload in gallery}
    rows = []
    for s in searched[:: max(1, len(searched) // _SHOWN_QUERIES)][:_SHOWN_QUERIES]:
        hits = [
            Cell(_decode(files[hit.id]), f"{hit.score:.3f} {hit.payload['instance']}", _is_match(s.query, hit))
            for hit in s.hits[:_SHOWN_HITS]
        ]
        rows.append((Cell(_decode(s.query.data), f"query: {s.query.payload['instance']}"), hits))
    views = Counter(upload.payload["instance"] for upload in gallery).most_common(1)[0][1]
    title = f"Queries (blue) and their first matches: right ones ({views} in the gallery) green, wrong ones red"
    contact_sheet(rows, title).save(path)


def _decode(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return decode_image(data, ImageLimits()).pixels


@dataclass(frozen=True, slots=True)
class DemoPhotographs:
    """Gallery and queries; an upload's payload holds the name of its instance."""

    gallery: list[Upload]
    queries: list[Upload]


def render_demo_photographs() -> DemoPhotographs:
    """Render the photographs; the same ones every time."""
    protocol = scenes_protocol(
        instances=_INSTANCES,
        queries_each=_QUERIES_EACH,
        gallery_each=_GALLERY_EACH,
        distractors=_DISTRACTORS,
        difficulty=_DIFFICULTY,
    )
    return DemoPhotographs(
        gallery=[_upload(photograph, f"gallery/{i:04d}.jpg") for i, photograph in enumerate(protocol.gallery)],
        queries=[_upload(photograph, f"query/{i:04d}.jpg") for i, photograph in enumerate(protocol.queries)],
    )


def _upload(photograph: Photograph, name: str) -> Upload:
    bgr = cv2.cvtColor(photograph.load(), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Upload(id=name, name=name, data=encoded.tobytes(), payload={"instance": photograph.instance})
