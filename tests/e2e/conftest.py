"""Both services as users run them: `aff serve` in a separate process, with the bundle of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.tiny_bundle import TINY_BUNDLE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    directory = tmp_path_factory.mktemp("services")
    with local_services(TINY_BUNDLE, directory / "gallery", directory / "services.log") as running:
        yield running
