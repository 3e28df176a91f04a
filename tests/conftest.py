"""Fixtures of every test directory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.support.tiny_training import TinyTraining

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _small_numbers_are_kept() -> None:
    """ONNX Runtime, as the query encoder sets it, makes its thread take denormal numbers for zero; hypothesis minds."""
    if sys.float_info.min / 2 == 0:
        import torch  # noqa: PLC0415 - it takes seconds

        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    """A bundle of the smallest recipe, trained once for the whole run; tests that alter it work on a copy."""
    from tests.support.tiny_training import train_tiny_bundle  # noqa: PLC0415 - torch takes seconds

    return train_tiny_bundle(tmp_path_factory.mktemp("tiny-training"))
