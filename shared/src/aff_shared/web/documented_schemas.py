"""Schemas in the OpenAPI document that no route's annotation brings there."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_REF_TEMPLATE = "#/components/schemas/{model}"


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Return the schema that refers to a documented model."""
    return {"$ref": _REF_TEMPLATE.format(model=model.__name__)}


def document_schemas(app: FastAPI, *models: type[BaseModel]) -> None:
    """Put models, and those that they refer to, into the components of an application's OpenAPI document."""
    generate = app.openapi
    _, found = models_json_schema([(model, "serialization") for model in models], ref_template=_REF_TEMPLATE)

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in found["$defs"].items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend its document
