from __future__ import annotations

from aff_contracts.errors import TruncatedImageError
from aff_contracts.schemas.problem import problem_of


def test_a_problem_says_what_the_error_says() -> None:
    problem = problem_of(TruncatedImageError("ends after 12 bytes", item="a.jpg"))
    assert problem.model_dump() == {
        "type": "urn:aff:problem:image_truncated",
        "title": "Truncated or damaged image",
        "status": 422,
        "detail": "ends after 12 bytes",
        "code": "image_truncated",
        "item": "a.jpg",
    }
