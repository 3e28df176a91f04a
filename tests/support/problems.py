"""Checking that an answer is problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

import httpx


def require_problem(response: httpx.Response, status: int, code: str, item: str | None = None) -> dict[str, Any]:
    """Require a whole and consistent problem of that status, code and item; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:aff:problem:{code}"
    assert problem["item"] == item
    assert problem["title"]
    assert problem["detail"]
    return problem
