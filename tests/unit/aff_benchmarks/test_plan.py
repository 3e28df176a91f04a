"""The arithmetic of a plan, checked by hand."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from aff_benchmarks.plan import PlanRequest, UnitCosts, embedding_bytes, graph_bytes, least_nodes, make_plan
from aff_toolkit.cli.main import app

MILLION = PlanRequest(images=1_000_000, qps=100, dimension=128)


def test_a_vector_takes_its_bits() -> None:
    assert [embedding_bytes(128, kind) for kind in ("none", "int8", "turbo4")] == [512, 128, 64]


def test_links_are_doubled_on_the_lowest_level_and_few_nodes_reach_the_next() -> None:
    assert graph_bytes(16) == pytest.approx(4 * (32 + 16 / 15))


def test_memory_holds_the_compared_vectors_and_the_graph() -> None:
    plan = make_plan(MILLION)
    assert plan.value("memory") == pytest.approx(1e6 * (128 + graph_bytes()))
    assert plan.value("memory_in_all") == 2 * 1.5 * plan.value("memory")
    uncompressed = make_plan(MILLION.model_copy(update={"quantization": "none"}))
    assert uncompressed.value("memory") == pytest.approx(1e6 * (512 + graph_bytes()))


def test_the_disk_holds_everything() -> None:
    costs = UnitCosts(record_bytes=100)
    assert make_plan(MILLION, costs).value("disk") == pytest.approx(1e6 * (512 + 128 + graph_bytes() + 100))


@pytest.mark.parametrize(("replicas", "nodes"), [(1, 1), (2, 3), (3, 3), (5, 5)])
def test_replicas_are_on_separate_nodes_with_a_majority(replicas: int, nodes: int) -> None:
    assert least_nodes(replicas) == nodes
    assert make_plan(MILLION.model_copy(update={"replicas": replicas})).value("nodes") == nodes


def test_the_number_of_nodes_is_minimal() -> None:
    request = PlanRequest(images=10**9, qps=500, dimension=512, node_memory_gib=64)
    plan = make_plan(request)
    nodes = plan.value("nodes")
    assert nodes > 3
    wanted = max(plan.value("memory_in_all") / 64, plan.value("disk_in_all") / 1000) / 2**30
    assert nodes - 1 < wanted <= nodes
    assert plan.value("shards") == 2 * nodes


def test_work_follows_from_the_unit_costs() -> None:
    costs = UnitCosts(index_images_per_s=100, query_core_ms=7)
    plan = make_plan(MILLION.model_copy(update={"target_load": 0.5}), costs)
    assert plan.value("gpu_hours") == pytest.approx(1e6 / 100 / 3600)
    assert plan.value("query_cores_per_1000") == 7
    assert plan.value("query_cores") == math.ceil(100 * 7 / 1000 / 0.5)


def test_given_figures_replace_measured_ones_and_are_marked() -> None:
    plan = make_plan(MILLION.model_copy(update={"index_images_per_s": 10.0}))
    (hours,) = [figure for figure in plan.figures if figure.key == "gpu_hours"]
    assert hours.value == pytest.approx(1e6 / 10 / 3600)
    assert (hours.basis, "as given" in hours.how) == ("assumed", True)


def test_the_price_of_a_million_searches_is_that_of_their_hours() -> None:
    request = MILLION.model_copy(update={"node_hour_price": 1.0, "core_hour_price": 0.1})
    plan = make_plan(request)
    hourly = plan.value("nodes") * 1.0 + plan.value("query_cores") * 0.1
    assert plan.value("million_price") == pytest.approx(hourly * 1e6 / (100 * 3600))


@pytest.mark.parametrize("key", ["memory_in_all", "disk_in_all", "gpu_hours", "index_price", "images_per_shard"])
def test_a_larger_gallery_needs_more(key: str) -> None:
    values = [make_plan(PlanRequest(images=n, qps=500, dimension=128)).value(key) for n in (10**6, 10**8, 10**9)]
    assert values == sorted(values)
    assert values[0] < values[2]


def test_the_command_prints_the_request_and_its_figures() -> None:
    result = CliRunner().invoke(app, ["plan", "--images", "1e8", "--qps", "500", "--json"])
    assert result.exit_code == 0
    plan = json.loads(result.stdout)
    assert (plan["request"]["images"], plan["request"]["qps"]) == (10**8, 500)
    assert {figure["key"]: figure["value"] for figure in plan["figures"]}["vectors_float32"] == 1e8 * 512


def test_the_table_is_readable() -> None:
    result = CliRunner().invoke(app, ["plan", "--images", "1e8", "--qps", "500"], env={"COLUMNS": "120"})
    assert "100,000,000 images, 500 searches/s, 128 dimensions" in result.stdout
    assert "47.7 GiB" in result.stdout


@pytest.mark.parametrize("wrong", [["--images", "0"], ["--images", "nan"], ["--qps", "0"], ["--headroom", "0.5"]])
def test_an_invalid_number_is_reported_with_its_option(wrong: list[str]) -> None:
    given = dict(zip(["--images", "--qps"], ["1e6", "10"], strict=True)) | dict([wrong])
    result = CliRunner().invoke(app, ["plan", *[word for pair in given.items() for word in pair]])
    assert result.exit_code == 1
    assert wrong[0] in result.stderr
