"""A bundle of which only a part has arrived: a running service keeps the former one, a new one reports the fault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.errors import BundleFormatError, BundleIntegrityError, BundleNotFoundError
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.faulty_store import becomes_ready, nearest, problem, search
from tests.support.gallery_points import make_point
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.query_service import COLOURS, QueryService, colour_gallery, tiny_query_service
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding, tiny_query_encoder

ENCODER = "query_encoder.onnx"

pytestmark = pytest.mark.anyio


def _leave_out(bundle: Path) -> None:
    (bundle / ENCODER).unlink()


def _cut_off(bundle: Path) -> None:
    os.truncate(bundle / ENCODER, (bundle / ENCODER).stat().st_size // 2)


def _alter(bundle: Path) -> None:
    content = bytearray((bundle / ENCODER).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / ENCODER).write_bytes(content)


def _cut_the_manifest_off(bundle: Path) -> None:
    os.truncate(bundle / "bundle.json", 100)


COPIES = (_leave_out, _cut_off, _alter)


async def _galleries(service: QueryService, newer: BundleManifest) -> MemoryGalleryCatalogue:
    """Make a collection for each of the two bundles; that of the service is live."""
    catalogue = MemoryGalleryCatalogue()
    points = [make_point(name, tiny_embedding(colour)) for name, colour in COLOURS.items()]
    for space in (service.manifest.space, newer.space):
        await catalogue.create(space)
        await (await catalogue.collection(space)).upsert(points)
    return catalogue


@pytest.mark.parametrize("damage", [*COPIES, _cut_the_manifest_off])
async def test_the_former_bundle_is_served_until_the_whole_of_the_next_one_has_arrived(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    service = tiny_query_service(tmp_path)
    whole, arriving = tmp_path / "elsewhere" / "newer", tmp_path / "newer"
    whole.mkdir(parents=True)
    newer = write_dummy_bundle(whole, dimension=DIMENSION, query_encoder=tiny_query_encoder(), mixer=b"another mixer")
    shutil.copytree(whole, arriving)
    damage(arriving)
    catalogue = await _galleries(service, newer)
    async with service.running(catalogue) as client:
        await catalogue.switch(newer.space.id)
        for _ in range(5):
            for colour in COLOURS:
                answer = await search(client, colour)
                assert nearest(answer) == colour
                assert answer.json()["fingerprint"] == service.manifest.fingerprint
            assert problem(await client.get("/readyz")) == (503, "embedding_space_mismatch")
        shutil.copytree(whole, arriving, dirs_exist_ok=True)
        await becomes_ready(client)
        answer = await search(client, "red")
        assert (nearest(answer), answer.json()["fingerprint"]) == ("red", newer.fingerprint)


@pytest.mark.parametrize("damage", COPIES)
async def test_a_service_does_not_start_with_a_part_of_its_bundle_and_names_the_file(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    service = tiny_query_service(tmp_path)
    damage(service.settings.bundle_path)
    with pytest.raises(BundleNotFoundError if damage is _leave_out else BundleIntegrityError, match=ENCODER):
        async with service.running():
            pass


async def test_a_service_does_not_start_with_a_part_of_a_manifest(tmp_path: Path) -> None:
    service = tiny_query_service(tmp_path)
    _cut_the_manifest_off(service.settings.bundle_path)
    with pytest.raises(BundleFormatError, match=r"bundle\.json"):
        async with service.running():
            pass


@pytest.mark.parametrize("damage", COPIES)
async def test_a_running_service_keeps_its_bundle_when_the_files_are_overwritten_and_serves_no_part_of_the_new_one(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    service = tiny_query_service(tmp_path)
    async with service.running(await colour_gallery(service.manifest.space)) as client:
        described = (await client.get("/encoder")).json()
        damage(service.settings.bundle_path)
        assert nearest(await search(client, "red")) == "red"
        answer = await client.get(described["files"][0]["url"])
        assert problem(answer) == (500, "bundle_not_found" if damage is _leave_out else "bundle_integrity")
