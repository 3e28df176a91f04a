"""Settings of a collection, in the engine itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import StoreSettings
from tests.support.filter_cases import FILTERS, PHOTOGRAPHS
from tests.support.gallery_points import make_point, make_points, make_space, random_units

SPACE = make_space(dimension=8)


def _gallery(path: Path, **settings: Any) -> EdgeGallery:
    return EdgeGallery(path, StoreSettings(url="", **settings))


def _stored_config(path: Path) -> Any:
    (file,) = path.glob("shard-*/edge_config.json")
    return json.loads(file.read_text())["vectors"]["embedding"]


@pytest.mark.parametrize("quantization", ["int8", "turbo8", "turbo4", "turbo2", "turbo1", "binary"])
def test_a_gallery_with_compressed_vectors_finds_what_exact_search_finds(tmp_path: Path, quantization: str) -> None:
    settings = {
        "quantization": quantization,
        "quantized_memory": "pinned",
        "vectors_memory": "cold",
        "oversampling": 40,
    }
    gallery = _gallery(tmp_path, **settings, hnsw_m=8, search_ef=64)
    gallery.create(SPACE)
    gallery.upsert(make_points(200))
    gallery._shard.optimize()
    for query in random_units(5, seed=4):
        found = [
            gallery.search(
                query, limit=5, payload_filter=None, score_threshold=None, exact=exact, with_embeddings=False
            )
            for exact in (False, True)
        ]
        assert [hit.record.item_id for hit in found[0]] == [hit.record.item_id for hit in found[1]]
    assert _stored_config(tmp_path)["quantization_config"] is not None
    gallery.close()


def test_settings_may_change_from_one_opening_to_the_next(tmp_path: Path) -> None:
    first = _gallery(tmp_path)
    first.create(SPACE)
    first.upsert(make_points(50))
    first.close()
    second = _gallery(tmp_path, quantization="int8")
    assert second.count(None) == 50
    assert "scalar" in _stored_config(tmp_path)["quantization_config"]
    second.close()


def test_declared_keys_are_indexed_once_and_filters_mean_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"city": "keyword", "year": "integer", "seen": "datetime", "at": "geo", "open": "bool", "straße": "keyword"}
    schema = plain | {"EXIF:Make": "keyword", '"f.number"."in [mm]"': "float"}
    gallery = _gallery(tmp_path, payload_schema=schema)
    gallery.create(SPACE)
    embeddings = random_units(len(PHOTOGRAPHS), seed=2)
    gallery.upsert(
        [make_point(name, unit, PHOTOGRAPHS[name]) for name, unit in zip(PHOTOGRAPHS, embeddings, strict=True)]
    )
    while gallery.index_payload():
        pass
    expected_names = {f"payload.{key}" for key in plain} | {'payload."EXIF:Make"', 'payload."f.number"."in [mm]"'}
    expected_names |= {"indexed_at"}
    assert set(gallery._shard.info().payload_schema) == expected_names
    with monkeypatch.context() as nothing_more:
        nothing_more.setattr(gallery, "_write", None)
        assert not gallery.index_payload()
    for document, expected in FILTERS.values():
        payload_filter = PayloadFilter.model_validate(document)
        found = gallery.scroll(limit=100, cursor=None, payload_filter=payload_filter).points
        assert {point.record.item_id for point in found} == expected
    gallery.close()


def test_without_a_declaration_the_details_of_photographs_are_indexed(tmp_path: Path) -> None:
    gallery = _gallery(tmp_path)
    gallery.create(SPACE)
    while gallery.index_payload():
        pass
    details = {"payload.folder", "payload.file_name", "payload.taken_at", "payload.camera"}
    assert set(gallery._shard.info().payload_schema) == {"indexed_at", *details}
    gallery.close()
