"""An image in which an extractor finds nothing is indexed by the others, and its record shows that."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np

from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes, png_bytes

SCENE = jpeg_bytes(render_view(11, 0))
GREY = png_bytes(np.full((200, 300, 3), 128, np.uint8))


def index(services: LocalServices) -> list[dict[str, Any]]:
    answer = httpx.post(
        f"{services.indexer_url}/index",
        files=[("images", ("scene.jpg", SCENE)), ("images", ("grey.png", GREY))],
        data={"items": '[{"id": "scene"}, {"id": "featureless grey"}]'},
        timeout=60,
    )
    assert answer.status_code == 200
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    return receipts


def test_the_receipt_and_the_gallery_lack_what_found_nothing(services: LocalServices) -> None:
    scene, grey = index(services)
    assert (scene["status"], scene["extractors"]) == ("indexed", ["compact_cnn", "rootsift"])
    assert (grey["status"], grey["extractors"]) == ("indexed", ["compact_cnn"])
    assert (scene["found_nothing"], grey["found_nothing"]) == ([], ["rootsift"])
    again = index(services)
    assert [receipt["extractors"] for receipt in again] == [scene["extractors"], grey["extractors"]]
    assert [receipt["found_nothing"] for receipt in again] == [[], ["rootsift"]]
    for item_id, receipt in (("scene", scene), ("featureless grey", grey)):
        image = httpx.get(f"{services.indexer_url}/images/{item_id}", timeout=60).json()
        assert image["extractors"] == receipt["extractors"]


def test_a_featureless_image_is_found_again(services: LocalServices) -> None:
    index(services)
    answer = httpx.post(f"{services.query_url}/search", files={"image": ("grey.png", GREY)}, timeout=60)
    assert "featureless grey" in [hit["id"] for hit in answer.json()["hits"]]
