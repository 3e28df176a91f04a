from __future__ import annotations

import pytest

from aff_shared.errors import AffError, BundleError, ImageError, StoreUnavailableError
from aff_shared.schemas.problem import problem_of


@pytest.mark.parametrize(
    ("detail", "reported"),
    [
        ("no readable bundle.json in /srv/private/bundles/new", "no readable bundle.json in new"),
        ("cannot read '/srv/private/key': denied", "cannot read 'key': denied"),
        ("cannot open ../private/gallery/: in use", "cannot open gallery: in use"),
        ("(/a/b, ~/c/d)", "(b, d)"),
        ("no answer from http://qdrant:6333/collections", "no answer from http://qdrant:6333/collections"),
        ("it holds image/jpeg, 3/4 of it", "it holds image/jpeg, 3/4 of it"),
    ],
)
def test_directories_of_a_service_are_not_disclosed(detail: str, reported: str) -> None:
    for error in (BundleError(detail, item=detail), StoreUnavailableError(detail), AffError(detail)):
        problem = problem_of(error)
        assert problem.detail == reported
        assert problem.item in {reported, None}
        assert problem_of(error, local=True).detail == detail


def test_names_from_the_caller_are_not_shortened() -> None:
    problem = problem_of(ImageError("cannot be used", item="/home/me/photographs/a.jpg"))
    assert problem.item == "/home/me/photographs/a.jpg"
