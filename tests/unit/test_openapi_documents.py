"""The committed OpenAPI documents are those of the code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

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


@pytest.mark.parametrize("name", APPS)
def test_the_committed_document_is_valid_and_refers_to_nothing_that_is_not_there(name: str) -> None:
    document = json.loads((DOCUMENTS / f"{name}.json").read_text())
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    schemas = set(document["components"]["schemas"])
    referred = {reference.rpartition("/")[2] for reference in _references(document)}
    assert referred <= schemas
    assert all(reference.startswith("#/components/schemas/") for reference in _references(document))


@pytest.mark.parametrize("name", APPS)
def test_an_object_of_any_members_is_declared_as_such(name: str) -> None:
    # Generators take an object without properties for one that is empty.
    document = json.loads((DOCUMENTS / f"{name}.json").read_text())
    objects = [part for part in _parts(document) if part.get("type") == "object"]
    assert objects
    assert all("properties" in one or "additionalProperties" in one for one in objects)


def test_every_operation_documents_its_problems(app: tuple[str, FastAPI]) -> None:
    for path, operations in app[1].openapi()["paths"].items():
        for method, operation in operations.items():
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            problems = [answer for status, answer in errors.items() if status != "416"]  # of a file, without a body
            assert problems, (method, path)
            assert all("application/problem+json" in answer["content"] for answer in problems), (method, path)


def test_every_operation_shows_examples_that_fit_its_schemas(app: tuple[str, FastAPI]) -> None:
    document = app[1].openapi()
    for place, content in _json_contents(document):
        schema = {**content["schema"], "components": document["components"]}
        found = _examples(content, document)
        assert found, place
        for example in found:
            assert [error.message for error in Draft202012Validator(schema).iter_errors(example)] == [], place
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                assert parameter["schema"].get("examples"), (method, path, parameter["name"])


def _references(document: Any) -> Iterator[str]:
    return (part["$ref"] for part in _parts(document) if isinstance(part.get("$ref"), str))


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a document."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _parts(inner)


def _json_contents(document: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the JSON media types of every request and response, with their places."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, body in bodies.items():
                for media_type, content in body.get("content", {}).items():
                    if "json" in media_type:
                        yield (method, path, name, media_type), content


def _examples(content: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    """Return those of the media type, of its schema, or of the schema of the items of its list."""
    if "example" in content:
        return [content["example"]]
    schema = content["schema"]
    if schema.get("type") == "array":
        return [[example] for example in _examples({"schema": schema["items"]}, document)]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return list(schema.get("examples", []))
