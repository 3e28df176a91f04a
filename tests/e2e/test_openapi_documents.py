"""The committed OpenAPI documents are those of the code."""

import json
from pathlib import Path

import pytest
from fastapi import FastAPI

from gallery_indexer.app import create_app as create_indexer_app
from gallery_indexer.settings import IndexerSettings
from query_api.app import create_app as create_query_app
from query_api.settings import QuerySettings

DOCUMENTS = Path(__file__).parents[2] / "docs" / "openapi"
APPS = {
    "gallery_indexer": lambda: create_indexer_app(IndexerSettings()),
    "query_api": lambda: create_query_app(QuerySettings()),
}


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> tuple[str, FastAPI]:
    return request.param, APPS[request.param]()


def test_the_committed_document_is_current(app: tuple[str, FastAPI]) -> None:
    name, application = app
    committed = json.loads((DOCUMENTS / f"{name}.json").read_text())
    assert committed == application.openapi(), "run `make openapi` and commit the result"


def test_every_operation_documents_its_problems(app: tuple[str, FastAPI]) -> None:
    for path, operations in app[1].openapi()["paths"].items():
        for method, operation in operations.items():
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            problems = [answer for status, answer in errors.items() if status != "416"]  # of a file, without a body
            assert problems, (method, path)
            assert all("application/problem+json" in answer["content"] for answer in problems), (method, path)
