"""`aff encoders`: the cost of query backbones."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from aff_toolkit.models.query_encoder import QUERY_BACKBONES

pytestmark = pytest.mark.slow

cli = CliRunner()


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    done = cli.invoke(app, ["encoders", "--only", "residual-8", "--size", "32", "--dimension", "16", "--json"])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)
    figures: dict[str, object] = one
    return figures


def test_multiply_adds_match_hand_arithmetic(found: dict[str, object]) -> None:
    # Layers as (outputs per place, inputs per output, side of the map): stem; then two 3 x 3 and a 1 x 1 of each block.
    layers = [(8, 3 * 25, 16)]
    for inputs, outputs, side in ((8, 16, 8), (16, 32, 4), (32, 64, 2)):
        layers += [(outputs, inputs * 9, side), (outputs, outputs * 9, side), (outputs, inputs, side)]
    expected = sum(outputs * inputs * side**2 for outputs, inputs, side in layers) + 64 * 16
    assert found["mflop"] == pytest.approx(expected / 1e6)


def test_the_rest_is_measured(found: dict[str, object]) -> None:
    assert found["name"] == "residual-8"
    assert float(str(found["onnx_mb"])) > 4 * int(str(found["parameters"])) / 1e6 * 0.9
    assert float(str(found["latency_ms"])) > 0


def test_an_unknown_name_is_rejected() -> None:
    wrong = cli.invoke(app, ["encoders", "--only", "vgg", "--json"])
    assert json.loads(wrong.stdout)["item"] == "vgg"


def test_a_missing_package_is_an_error_for_a_requested_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    requested = cli.invoke(app, ["encoders", "--only", "mobilenet-v3-small", "--size", "32", "--json"])
    assert requested.exit_code == 1
    assert json.loads(requested.stdout)["code"] == "extra_missing"


def test_the_default_output_is_a_table_without_backbones_that_need_a_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    two = {name: QUERY_BACKBONES[name] for name in ("mobilenet-v3-small", "residual-8")}
    monkeypatch.setattr("aff_toolkit.models.query_encoder.QUERY_BACKBONES", two)
    done = cli.invoke(app, ["encoders", "--size", "32"])
    assert "MFLOP" in done.stdout
    assert "residual-8" in done.stdout
    assert "mobilenet" not in done.stdout
    assert "skipped: mobilenetv3_small_100: needs timm" in done.stderr
