from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from query_api.settings import QuerySettings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_QUERY_BUNDLE_PATH", "bundles/small")
    monkeypatch.setenv("AFF_QUERY_MAX_LIMIT", "50")
    monkeypatch.setenv("AFF_QUERY_IMAGE_LIMITS__MAX_PIXELS", "1000")
    monkeypatch.setenv("AFF_QUERY_PRECISION", "fp32")
    monkeypatch.setenv("QDRANT_URL", "http://qdrant:6333")
    settings = QuerySettings()
    assert settings.bundle_path == Path("bundles/small")
    assert settings.max_limit == 50
    assert settings.image_limits.max_pixels == 1000
    assert settings.precision == "fp32"
    assert settings.store.url == "http://qdrant:6333"


def test_without_a_bundle_in_the_settings_it_is_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundles/photos").mkdir(parents=True)
    (tmp_path / "bundles/photos/bundle.json").touch()
    monkeypatch.chdir(tmp_path)
    assert QuerySettings().bundle_path == Path("bundles/photos")


def test_settings_cannot_be_changed_while_the_service_runs() -> None:
    settings = QuerySettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 9000  # type: ignore[misc] # that it fails is the point


def test_a_default_limit_over_the_maximum_is_rejected() -> None:
    assert QuerySettings(default_limit=5, max_limit=5).default_limit == 5
    with pytest.raises(ValidationError, match="default_limit 6 is over max_limit 5"):
        QuerySettings(default_limit=6, max_limit=5)
