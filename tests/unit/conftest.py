"""Unit tests see no settings of the environment: a QDRANT_URL there is for the contract suite alone.

Both services run in a process each, with the bundle of the tests and a small limit on bodies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.tiny_bundle import TINY_BUNDLE

MAX_BODY_BYTES = 200_000


@pytest.fixture(scope="module", autouse=True)
def no_settings_in_the_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.startswith(("QDRANT_", "AFF_")):
                monkeypatch.delenv(name)
        yield


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    """The running services; their gallery is shared, so each test uses separate ids."""
    directory = tmp_path_factory.mktemp("services")
    settings = {"AFF_INDEX_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with local_services(TINY_BUNDLE, directory / "gallery", directory / "services.log", settings) as running:
        yield running
