from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from aff_shared.store.server import catalogue as server_catalogue
from gallery_indexer.settings import IndexerSettings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_INDEX_BUNDLE_PATH", "bundles/small")
    monkeypatch.setenv("AFF_INDEX_PORT", "9000")
    monkeypatch.setenv("AFF_INDEX_IMAGE_LIMITS__MAX_PIXELS", "1000")
    monkeypatch.setenv("QDRANT_COLLECTION", "paintings")
    settings = IndexerSettings()
    assert settings.bundle_path == Path("bundles/small")
    assert settings.port == 9000
    assert settings.image_limits.max_pixels == 1000
    assert settings.store.collection == "paintings"


def test_the_default_bundle_is_used_without_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundles/photos").mkdir(parents=True)
    (tmp_path / "bundles/photos/bundle.json").touch()
    monkeypatch.chdir(tmp_path)
    assert IndexerSettings().bundle_path == Path("bundles/photos")


def test_new_collections_are_detected_before_the_former_ones_are_dropped() -> None:
    IndexerSettings(catalogue_interval_s=4)
    with pytest.raises(ValidationError, match="catalogue_interval_s"):
        IndexerSettings(catalogue_interval_s=server_catalogue._FOLLOWED_S)


def test_settings_cannot_be_changed_while_the_service_runs() -> None:
    settings = IndexerSettings(bundle_path=Path("bundles/small"))
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 9000  # type: ignore[misc] # that it fails is the point
