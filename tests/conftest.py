"""Fixtures of every test directory, and which directories and fixtures make a test slow."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from tests.support.tiny_bundle import TinyBundle
    from tests.support.tiny_training import TinyTraining

TESTS = Path(__file__).parent
SLOW_DIRECTORIES = {"e2e", "fuzz"}
SLOW_FIXTURES = {"tiny_training", "services"}  # a training; both services in a separate process

# Programs that packages install, such as Node.js, for tests that start them.
os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))

# How long an example takes depends on how busy the machine is, not on the code. `make fuzz` runs more examples.
hypothesis.settings.register_profile(
    "project", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
)
hypothesis.settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow directories and with slow fixtures, before tests are deselected by their marks.

    Files with slow tests are first, so that workers that run a file at a time (`make test-all`) end at the same time.
    """
    for item in items:
        in_slow_directory = item.path.relative_to(TESTS).parts[0] in SLOW_DIRECTORIES
        if in_slow_directory or not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


@pytest.fixture(autouse=True)
def _denormal_numbers_are_kept() -> None:
    """Undo what ONNX Runtime sets in its thread for the query encoder: hypothesis rejects flushed denormal numbers."""
    if sys.float_info.min / 2 == 0:
        import torch  # noqa: PLC0415 - it takes seconds

        torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _exporters_share_the_library_of_operators() -> None:
    """Cache what torch's ONNX exporter, if it is loaded, otherwise reads at each export: more than a second."""
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    if module is not None and not hasattr(module.ONNXRegistry.from_torchlib, "cache_info"):
        module.ONNXRegistry.from_torchlib = staticmethod(functools.cache(module.ONNXRegistry.from_torchlib))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_bundle() -> TinyBundle:
    """The committed bundle of the tests; tests that alter it work on a copy."""
    from aff_shared.bundles.bundle import load_manifest  # noqa: PLC0415 - tests without a bundle start faster
    from tests.support.tiny_bundle import TINY_BUNDLE, TinyBundle  # noqa: PLC0415

    return TinyBundle(TINY_BUNDLE, load_manifest(TINY_BUNDLE))


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> TinyTraining:
    """A bundle of the smallest recipe, trained once for all workers; tests that alter it work on a copy."""
    from aff_shared.bundles.bundle import load_manifest  # noqa: PLC0415 - torch takes seconds
    from tests.support.tiny_training import TinyTraining, train_tiny_bundle  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "tiny-training"
    done = directory / "done"
    with FileLock(f"{directory}.lock"):
        if done.exists():
            return TinyTraining(directory / "bundle", directory / "work", load_manifest(directory / "bundle"))
        training = train_tiny_bundle(directory)
        done.touch()
        return training
