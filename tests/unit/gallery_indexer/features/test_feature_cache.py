from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_shared.bundles.bundle import FeatureSpec
from gallery_indexer.features import feature_cache
from gallery_indexer.features.feature_cache import FeatureCache, FeatureKind
from gallery_indexer.features.image_encoder import ImageFeatures, Tokens
from gallery_indexer.features.shards import FeatureNotFiniteError, FeatureShardError

SPECS = (
    FeatureSpec(name="whole", kind="global", dimension=8, max_tokens=1),
    FeatureSpec(name="parts", kind="local", dimension=4, max_tokens=5),
)
KIND, OTHER = FeatureKind("k" * 64, SPECS), FeatureKind("o" * 64, SPECS)


def _image(number: int) -> tuple[str, ImageFeatures]:
    """Return features that depend on the number; every fifth image has no local and every seventh no global feature."""
    rng = np.random.default_rng(number)
    parts = 0 if number % 5 == 0 else 1 + number % 4
    whole = rng.standard_normal((0 if number % 7 == 0 else 1, 8)).astype(np.float16)
    local = Tokens(rng.standard_normal((parts, 4)).astype(np.float16), rng.random((parts, 2)).astype(np.float16))
    return f"{number:064x}", {"whole": Tokens(whole), "parts": local}


def _same(one: ImageFeatures, other: ImageFeatures) -> None:
    for name in ("whole", "parts"):
        np.testing.assert_array_equal(one[name].values, other[name].values)
    np.testing.assert_array_equal(one["parts"].positions, other["parts"].positions)


def _open(path: Path, **changes: Any) -> FeatureCache:
    return FeatureCache(path, **{"shard_images": 10, **changes})


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_features_are_returned_unchanged_from_the_database_and_from_a_shard(tmp_path: Path, batch: int) -> None:
    tokens, images = _open(tmp_path), [_image(number) for number in range(37)]
    for start in range(0, len(images), batch):
        tokens.keep(KIND, images[start : start + batch])
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) == 3
    for again in (tokens, _open(tmp_path)):
        found = again.fetch(KIND, [sha256 for sha256, _ in images])
        assert len(found) == again.count() == 37
        for sha256, features in images:
            _same(found[sha256], features)
    assert tokens.size_bytes() > 0


def test_features_that_are_not_cached_are_not_returned(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    tokens.keep(KIND, [_image(1)])
    assert list(tokens.fetch(KIND, [_image(1)[0], _image(2)[0]])) == [_image(1)[0]]


def test_features_of_different_extractors_are_kept_apart(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    content, features = _image(1)
    tokens.keep(KIND, [(content, features)])
    assert tokens.fetch(OTHER, [content]) == {}
    tokens.keep(OTHER, [(content, _image(2)[1])])
    _same(tokens.fetch(KIND, [content])[content], features)
    _same(tokens.fetch(OTHER, [content])[content], _image(2)[1])


def test_cached_features_are_not_replaced(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    content, features = _image(1)
    for _ in range(3):
        tokens.keep(KIND, [(content, features)])
    assert tokens.count() == 1


def test_an_unrecorded_shard_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    tokens.keep(KIND, [_image(number) for number in range(14)])
    tokens.close()
    for suffix in (".safetensors", ".json", ".safetensors.partial"):
        (tmp_path / "shards" / f"shard-00001{suffix}").write_bytes(b"half")
    again = _open(tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "shard-00000.json",
        "shard-00000.safetensors",
    ]
    again.keep(KIND, [_image(number) for number in range(14, 24)])
    assert len(again.fetch(KIND, [_image(number)[0] for number in range(24)])) == 24


def _immense(number: int) -> tuple[str, ImageFeatures]:
    content, features = _image(number)
    parts = Tokens(np.full((1, 4), np.inf, dtype=np.float16), np.zeros((1, 2), dtype=np.float16))
    return content, {**features, "parts": parts}


def test_features_beyond_float16_are_rejected_with_the_content(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    with pytest.raises(FeatureNotFiniteError, match=f"{_image(2)[0]}: parts"):
        tokens.keep(KIND, [_image(1), _immense(2)])
    assert tokens.count() == 0


def test_an_older_database_with_such_features_is_opened_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = _open(tmp_path)
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr(feature_cache, "not_finite", lambda _: [])
        tokens.keep(KIND, [_image(1), _immense(2), _image(3)])
        with pytest.raises(FeatureNotFiniteError):
            tokens.keep(KIND, [_image(number) for number in range(4, 15)])
    tokens.close()
    again = _open(tmp_path)
    assert _image(2)[0] in caplog.text
    again.keep(KIND, [_image(number) for number in range(15, 25)])
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) == 2
    found = again.fetch(KIND, [_image(number)[0] for number in range(1, 25)])
    assert found.keys() == {_image(number)[0] for number in range(1, 25)} - {_image(2)[0]}


def test_the_error_of_a_missing_shard_has_its_name(tmp_path: Path) -> None:
    tokens = _open(tmp_path)
    tokens.keep(KIND, [_image(number) for number in range(10)])
    shutil.rmtree(tmp_path / "shards")
    with pytest.raises(FeatureShardError, match=r"shard-00000"):
        tokens.fetch(KIND, [_image(3)[0]])
