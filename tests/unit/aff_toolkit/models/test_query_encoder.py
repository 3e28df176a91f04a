"""The query encoder in torch."""

from __future__ import annotations

import pytest
import torch

from aff_toolkit.models.query_encoder import QueryEncoder
from tests.support.settled_query_encoder import coloured_tiles, settled_query_encoder

IMAGES = coloured_tiles(4, 32, seed=1)


@pytest.fixture(scope="module")
def encoder() -> QueryEncoder:
    return settled_query_encoder(8, 32)


@torch.inference_mode()
def test_embeddings_have_unit_length(encoder: QueryEncoder) -> None:
    q = encoder(IMAGES)
    assert q.shape == (4, 8)
    torch.testing.assert_close(q.norm(dim=1), torch.ones(4))


@torch.inference_mode()
def test_it_distinguishes_images(encoder: QueryEncoder) -> None:
    q = encoder(IMAGES)
    assert (q @ q.T).fill_diagonal_(-1).max() < 0.99


@torch.inference_mode()
def test_a_batch_returns_what_its_images_return_alone(encoder: QueryEncoder) -> None:
    alone = torch.cat([encoder(image[None]) for image in IMAGES])
    torch.testing.assert_close(encoder(IMAGES), alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_bytes_and_floats_of_the_same_values_are_the_same_image(encoder: QueryEncoder) -> None:
    torch.testing.assert_close(encoder(IMAGES), encoder(IMAGES.float()))
