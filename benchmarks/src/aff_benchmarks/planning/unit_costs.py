"""What one image, and one search, was measured to cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.planning.plan_request import PlannedQuantization


class UnitCosts(BaseModel):
    """Measured unit costs, the only place where they stand; each tells where it was measured.

    Attributes:
        index_images_per_s: Of one card. DELG, Token and DOLG, ResNet-101 at 1,024 pixels, on an H200, through the
            whole service (docs/decisions/0008). Other extractors: docs/extractors.md, "Speed on a card".
        query_core_ms: Core milliseconds of a search in the query service, decoding and encoding most of them: two
            cores answered 291 searches a second (docs/performance.md, "One client, many clients"). With the
            small encoder of the tests (tests/bundles/tiny), of which 0.7 ms are its own; with the vector search in an
            embedded gallery of 50,000 images, and with the client that measured. Other encoders: docs/extractors.md,
            "Query backbones".
        search_ms: p50 of the vector search of one shard in one thread, by the compression of its vectors, all in
            memory (docs/performance.md, "As the gallery grows", 500,000 images).
        searched_images: Images of the gallery in which that was measured.
        searched_dimension: D of its embeddings.
        record_bytes: An image's share of the disk beside its float32 vector and its links in the graph: record, short
            payload, ids, write-ahead log. The same table: 519 MiB of 500,000 images, less 512 and 132.3 bytes of each.
    """

    model_config = ConfigDict(frozen=True)

    index_images_per_s: float = 131
    query_core_ms: float = 6.9
    search_ms: dict[PlannedQuantization, float] = {"none": 1.81, "int8": 0.57, "turbo4": 0.52}
    searched_images: int = 500_000
    searched_dimension: int = 128
    record_bytes: float = 444
