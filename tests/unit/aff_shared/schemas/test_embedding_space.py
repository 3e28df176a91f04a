from __future__ import annotations

import pytest
from pydantic import ValidationError

from aff_shared.errors import EmbeddingSpaceMismatchError
from aff_shared.schemas.embedding_space import EmbeddingSpace

ONE, OTHER = "1" * 64, "2" * 64


def test_a_space_is_the_same_as_itself() -> None:
    EmbeddingSpace(id=ONE, dimension=8).require_same(
        EmbeddingSpace(id=ONE, dimension=8), here="bundle", there="gallery"
    )


def test_spaces_of_equal_dimension_but_other_models_are_distinguished() -> None:
    with pytest.raises(EmbeddingSpaceMismatchError) as caught:
        EmbeddingSpace(id=ONE, dimension=8).require_same(
            EmbeddingSpace(id=OTHER, dimension=8), here="the bundle", there="the gallery"
        )
    assert "the bundle has embedding space 111111111111 (8-d cosine)" in caught.value.detail
    assert "the gallery has 222222222222 (8-d cosine)" in caught.value.detail
    assert "index the gallery again" in caught.value.detail


@pytest.mark.parametrize(("space_id", "dimension"), [("1" * 63, 8), ("G" * 64, 8), (ONE, 1), (ONE, 70_000)])
def test_an_impossible_space_cannot_be_built(space_id: str, dimension: int) -> None:
    with pytest.raises(ValidationError):
        EmbeddingSpace(id=space_id, dimension=dimension)
