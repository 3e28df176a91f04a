from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _only_the_settings_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server named in the environment is for the contract suite."""
    for name in list(os.environ):
        if name.startswith("QDRANT_"):
            monkeypatch.delenv(name)
