"""Unit tests see no settings of the environment: a QDRANT_URL there is for the contract suite alone."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("QDRANT_", "AFF_")):
            monkeypatch.delenv(name)
