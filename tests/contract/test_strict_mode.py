"""A collection in strict mode, on the server of `QDRANT_URL`; stand-ins play it in the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from qdrant_client import models

from aff_shared.errors import InvalidFilterError, StoreRefusalError
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from tests.contract.conftest import needs_server
from tests.support.gallery_points import make_points, make_space
from tests.support.gallery_stores import gallery_catalogue_of_kind

pytestmark = [pytest.mark.anyio, needs_server]

SPACE = make_space()
STRICT = models.StrictModeConfig(
    enabled=True,
    search_max_hnsw_ef=50,
    max_query_limit=5,
    upsert_max_batchsize=4,
    unindexed_filtering_retrieve=False,
)


@pytest.mark.parametrize("kind", ["server over gRPC", "server over REST"])
async def test_a_collection_in_strict_mode_is_used_within_its_limits(kind: str, tmp_path: Path) -> None:
    async with gallery_catalogue_of_kind(kind, tmp_path) as catalogue:
        assert isinstance(catalogue, QdrantServerCatalogue)
        await catalogue.create(SPACE)
        name = catalogue._name_of(SPACE.id)
        await catalogue._nodes.call(lambda client: client.update_collection(name, strict_mode_config=STRICT))
        await catalogue.collections()  # which notices the limits
        store = await catalogue.collection(SPACE)
        points = make_points(10)
        await store.upsert(points)
        assert len(await store.search(points[0].embedding, limit=5)) == 5
        assert len((await store.scroll(limit=10)).points) == 10
        with pytest.raises(StoreRefusalError, match="6 is more than the 5"):
            await store.search(points[0].embedding, limit=6)
        in_paris = PayloadFilter.model_validate({"must": [{"key": "city", "match": "Paris"}]})
        with pytest.raises(InvalidFilterError, match="QDRANT_PAYLOAD_SCHEMA"):
            await store.search(points[0].embedding, limit=1, payload_filter=in_paris)
