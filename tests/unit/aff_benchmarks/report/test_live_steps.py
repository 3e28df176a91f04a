"""The live path, step by step, and embeddings from a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aff_benchmarks.report import live_steps as module
from aff_benchmarks.report.live_steps import BrowserMissingError, browser_embeddings, live_steps
from aff_shared.bundles.bundle import load_manifest
from aff_toolkit.data.scenes import render_view
from aff_toolkit.evaluation.protocols import scenes_protocol
from aff_toolkit.local.local_service import local_services
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.images import png_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

RUNTIME = Path("services/query_api/src/query_api/page/ort/LICENSE")
BROWSER = next((path for name in module._BROWSERS if (path := shutil.which(name))), None)


@pytest.mark.browser
@pytest.mark.skipif(not RUNTIME.exists(), reason="needs ONNX Runtime for the web: make web")
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
def test_the_browser_encodes_as_the_service_does(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    views = [render_view(number, 0, size=(120, 160)) for number in range(3)]
    with local_services(TINY_BUNDLE, tmp_path / "gallery", tmp_path / "log") as services:
        found = browser_embeddings(services.query_url, [png_bytes(view) for view in views])
    here = OnnxQueryEncoder.load(TINY_BUNDLE, load_manifest(TINY_BUNDLE), threads=1, precision="fp32").encode(views)
    assert np.sum(found * here, axis=1).min() > 0.999


def test_a_missing_browser_or_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(BrowserMissingError, match="Chromium is not installed"):
        browser_embeddings("http://127.0.0.1:1", [])
    monkeypatch.setattr(module.shutil, "which", lambda _: "/bin/false")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(BrowserMissingError, match="playwright is not installed"):
        browser_embeddings("http://127.0.0.1:1", [])


def test_a_failing_browser_is_reported_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.setattr(module.shutil, "which", lambda _: "/bin/false")
    with pytest.raises(BrowserMissingError, match="Chromium failed"):
        browser_embeddings("http://127.0.0.1:1", [])


def test_every_step_of_the_live_path_is_measured() -> None:
    protocol = scenes_protocol(instances=3, queries_each=1, gallery_each=2, distractors=4, difficulty=0.3)
    steps = {step.name: step for step in live_steps(TINY_BUNDLE, protocol)}
    assert steps["torch, float32"].map_at_100 == pytest.approx(steps["ONNX, float32"].map_at_100)
    assert steps["both services over HTTP"].map_at_100 == pytest.approx(steps["ONNX, float32"].map_at_100)
    assert len(steps) == 8
    browser = steps["encoded in Chromium"]
    assert browser.map_at_100 is not None or "not measured" in browser.note
