"""The query service answers every request as its OpenAPI document specifies, and never with status 500 or over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aff_benchmarks.bench.services import running_query_service
from aff_benchmarks.bench.synthetic_gallery import write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SETTINGS = hypothesis.settings(
    max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)

_document = schemathesis.openapi.from_path(ROOT / "docs" / "openapi" / "query_api.json")
OPERATIONS = {operation.label: operation for operation in (found.ok() for found in _document.get_all_operations())}
GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
# What takes nothing can be sent nothing bad.
CASES = [
    (label, mode)
    for label, operation in OPERATIONS.items()
    for mode in (GOOD, BAD)
    if mode is GOOD or operation.query or operation.path_parameters or operation.body
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gallery = tmp_path_factory.mktemp("schemathesis") / "gallery"
    write_gallery(StoreSettings(url="", edge_path=gallery), load_manifest(TINY_BUNDLE).space, 20)
    with running_query_service(TINY_BUNDLE, gallery) as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.mark.parametrize(("label", "mode"), CASES, ids=str)
def test_every_answer_is_a_documented_one(url: str, label: str, mode: schemathesis.GenerationMode) -> None:
    cases: strategies.SearchStrategy[schemathesis.Case] = OPERATIONS[label].as_strategy(generation_mode=mode)

    @SETTINGS
    @hypothesis.given(case=cases)
    def is_answered_as_documented(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=url, checks=CHECKS)

    is_answered_as_documented()
