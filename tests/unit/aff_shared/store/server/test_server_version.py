from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import pytest

from aff_shared.errors import StoreRejectedError
from aff_shared.store.server.server_catalogue import QdrantServerCatalogue
from aff_shared.store.server.server_version import require_supported
from aff_shared.store.settings import StoreSettings
from tests.support.qdrant_node import qdrant_nodes


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.30.0")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("settings", "server", "sentence"),
    [
        (
            {"quantization": "turbo8"},
            "1.19.0",
            "QDRANT_QUANTIZATION=turbo8 needs Qdrant 1.20, and the server is 1.19.0, this package's client 1.30.0: set "
            "QDRANT_QUANTIZATION=int8 or turbo4, or upgrade",
        ),
        ({"quantization": "turbo4"}, "1.17.1", "QDRANT_QUANTIZATION=turbo4 needs Qdrant 1.18"),
        ({"quantized_memory": "pinned"}, "1.18.2", "QDRANT_QUANTIZED_MEMORY=pinned needs Qdrant 1.19"),
        ({"vectors_memory": "pinned"}, "1.19.0", "QDRANT_VECTORS_MEMORY=pinned: the Qdrant server (1.19.0) pins"),
        ({}, "1.15.4", "the gallery's metadata needs Qdrant 1.16"),
    ],
)
def test_what_a_server_cannot_do_is_one_sentence(settings: dict[str, Any], server: str, sentence: str) -> None:
    with pytest.raises(StoreRejectedError, match=re.escape(sentence)):
        require_supported(StoreSettings(**settings), server)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("settings", "server"),
    [
        ({"quantization": "turbo8"}, "1.20.0"),
        ({"quantization": "turbo4"}, "1.18.0"),
        ({"quantization": "int8", "quantized_memory": "pinned", "vectors_memory": "cold"}, "1.19.0"),
        ({}, "1.16.0"),
        ({"quantization": "turbo8"}, "dev"),
        ({"quantization": "turbo8"}, "2.0.0"),
    ],
)
def test_what_a_server_can_do_passes(settings: dict[str, Any], server: str) -> None:
    require_supported(StoreSettings(**settings), server)


def test_a_client_that_is_too_old_is_named_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.19.1")
    with pytest.raises(StoreRejectedError, match=r"the server is 1\.20\.3, this package's client 1\.19\.1"):
        require_supported(StoreSettings(quantization="turbo8"), "1.20.3")


@pytest.mark.anyio
@pytest.mark.parametrize("prefer_grpc", [True, False], ids=["gRPC", "REST"])
async def test_the_server_is_asked_before_anything_else(prefer_grpc: bool) -> None:
    async with qdrant_nodes() as (node,):
        rest, grpc_port = node.ports
        settings = StoreSettings(
            url=f"http://{node.host}:{rest}", grpc_port=grpc_port, prefer_grpc=prefer_grpc, quantization="turbo8"
        )
        catalogue = QdrantServerCatalogue(settings)
        with pytest.raises(StoreRejectedError, match=r"turbo8 needs Qdrant 1\.20, and the server is 1\.19\.0"):
            await catalogue.collections()
        await catalogue.close()
        assert [call.name for call in node.calls] == ["version"]
