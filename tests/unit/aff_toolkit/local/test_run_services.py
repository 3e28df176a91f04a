"""Which bundle a gallery is going to be served with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.errors import StoreUnavailableError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import Collection
from aff_toolkit.local.run_services import describe_served_bundle, joined_by_the_page
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.other_mixer import write_other_mixer
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles of different spaces beside each other: `photos` and `own`."""
    root = tmp_path_factory.mktemp("shelf")
    shutil.copytree(TINY_BUNDLE, root / "photos")
    write_other_mixer(root / "photos", root / "own", name="own")
    return root


async def catalogue_of(manifest: BundleManifest) -> MemoryGalleryCatalogue:
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(manifest.space)
    return catalogue


async def test_the_bundle_of_the_gallery_s_own_space_is_named_with_its_fingerprint(shelf: Path) -> None:
    own = load_manifest(shelf / "own")
    expected = f"bundle own, fingerprint {own.fingerprint[:12]}"
    assert await describe_served_bundle(shelf / "own", await catalogue_of(own)) == expected
    assert await describe_served_bundle(shelf / "own", MemoryGalleryCatalogue()) == expected


async def test_a_gallery_of_another_space_is_announced_with_the_bundle_that_it_is_searched_with(shelf: Path) -> None:
    photos = load_manifest(shelf / "photos")
    told = await describe_served_bundle(shelf / "own", await catalogue_of(photos))
    assert told.startswith("Warning: this gallery is of another embedding space than bundle own, fingerprint ")
    assert f"Its live collection is searched with bundle {photos.name}, fingerprint {photos.fingerprint[:12]}." in told
    assert "aff gallery build SOURCE --bundle own" in told


async def test_a_gallery_of_a_space_of_which_no_bundle_is_here_is_announced(shelf: Path) -> None:
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(EmbeddingSpace(id="f" * 64, dimension=16))
    told = await describe_served_bundle(shelf / "own", catalogue)
    assert "its directory has no bundle of that space: searches will be rejected" in told


async def test_of_a_store_that_is_unavailable_only_the_named_bundle_is_described(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: MemoryGalleryCatalogue) -> list[Collection]:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(MemoryGalleryCatalogue, "collections", away)
    told = await describe_served_bundle(shelf / "own", MemoryGalleryCatalogue())
    assert told == f"bundle {load_manifest(shelf / 'own').title}"


def test_the_page_of_one_machine_adds_images_through_the_indexer() -> None:
    indexer, query = joined_by_the_page(IndexerSettings(port=9002), QuerySettings(port=9001))
    assert query.page_indexer_url == "http://127.0.0.1:9002"
    assert {"http://127.0.0.1:9001", "http://localhost:9001"} <= set(indexer.access.cors_origins)


@pytest.mark.parametrize("changes", [{"page": False}, {"page_indexer_url": ""}, {"host": "0.0.0.0"}], ids=str)
def test_an_operator_decides_whether_the_page_adds_images(changes: dict[str, Any]) -> None:
    settings = (IndexerSettings(), QuerySettings(**changes))
    assert joined_by_the_page(*settings) == settings
