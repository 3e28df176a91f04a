"""`aff bench load`, for a second or two."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from aff_client.index_client import IndexerClient, Upload
from aff_toolkit.cli.main import app
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TinyBundle

cli = CliRunner()
SHORT = ["--minutes", "0.05", "--warm-up", "0.5", "--index-share", "0.4", "--json"]


@pytest.mark.slow
def test_both_services_are_started_and_loaded(tiny_bundle: TinyBundle) -> None:
    words = ["--bundle", str(tiny_bundle.bundle), "--gallery-size", "50", "--rate", "20", "--even"]
    result = cli.invoke(app, ["bench", "load", *words, *SHORT])
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["goals"]["growth"] else 3)
    assert found["goals"]["failures"]
    assert found["answers"] == {"200": 70}  # warm-up included
    assert sum(kind["requests"] for kind in found["kinds"].values()) == 60
    assert all(0 < kind["p50_ms"] <= kind["p99_ms"] <= kind["max_ms"] for kind in found["kinds"].values())
    assert len(found["processes"]) == 2  # the services, and the encoder's process
    for process in found["processes"]:
        assert len(process["samples"]) > 10
        assert 20 < process["samples"][0]["anonymous_mb"] < process["samples"][0]["resident_mb"]


@pytest.fixture
def running(services: LocalServices) -> LocalServices:
    """The running pair, with at least one image in its gallery."""
    with IndexerClient(services.indexer_url) as indexer:
        indexer.index([Upload("bench-load.jpg", "bench-load.jpg", jpeg_bytes())])
    return services


@pytest.mark.slow
def test_a_running_pair_keeps_its_gallery(running: LocalServices) -> None:
    with IndexerClient(running.indexer_url) as indexer:
        before = indexer.gallery().count
        urls = ["--query-url", running.query_url, "--indexer-url", running.indexer_url, "--rate", "20"]
        result = cli.invoke(app, ["bench", "load", *urls, *SHORT])
        assert indexer.gallery().count == before
    found = json.loads(result.stdout)
    assert (result.exit_code, found["processes"]) == (0, [])
    assert "200" in found["answers"]
    assert found["failed"] == 0


@pytest.mark.slow
def test_failures_are_listed_with_exit_status_3(running: LocalServices) -> None:
    nobody = ["--query-url", running.query_url, "--indexer-url", "http://127.0.0.1:9"]
    result = cli.invoke(app, ["bench", "load", *nobody, "--rate", "20", *SHORT])
    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert found["failed"] == found["answers"]["no answer"] > 0


def test_the_addresses_of_a_running_pair_are_required_together() -> None:
    result = cli.invoke(app, ["bench", "load", "--query-url", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "must be given together" in result.output
