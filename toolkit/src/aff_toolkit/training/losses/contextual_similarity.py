"""Contextual similarity distillation: the query embedding keeps the gallery embedding's similarities to others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings


def contextual_similarity_loss(
    q: Tensor,
    g: Tensor,
    *,
    neighbours: int,
    gallery_temperature: float,
    query_temperature: float,
    anchors: Tensor | None = None,
) -> Tensor:
    """Divergence between the similarities of g and of q to the same gallery anchors (Wu et al., CVPR 2022).

    The paper takes each photograph's nearest neighbours in the whole training gallery as anchors. Where the mixer still
    learns, they are the nearest of the batch: its own gallery embedding, and those of other photographs.

    Args:
        q: (B, D), unit length.
        g: (B, D), unit length.
        neighbours: Anchors of a photograph; all that there are where these are fewer.
        gallery_temperature: Divisor of the cosines of g.
        query_temperature: Divisor of the cosines of q.
        anchors: (A, D), unit length: where they are taken from; None takes g.

    Returns:
        Scalar, the mean Kullback-Leibler divergence over the batch.
    """
    pool = g if anchors is None else anchors
    wanted, found = g @ pool.T, q @ pool.T
    if neighbours < len(pool):
        wanted, nearest = wanted.topk(neighbours, dim=1)
        found = found.gather(1, nearest)
    target, found = (wanted / gallery_temperature).log_softmax(dim=1), (found / query_temperature).log_softmax(dim=1)
    return (target.exp() * (target - found)).sum(dim=1).mean()


class ContextualSimilarity(LossSettings):
    """Keep the similarities to the neighbours in the gallery space (CSD); needs no labels.

    Attributes:
        neighbours: Anchors of a photograph.
        gallery_temperature: Of the target's similarities.
        query_temperature: Of the query's similarities.
    """

    kind: Literal["csd"] = "csd"
    neighbours: int = Field(default=32, ge=2)
    gallery_temperature: float = Field(default=0.05, gt=0)
    query_temperature: float = Field(default=0.05, gt=0)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return contextual_similarity_loss(
            inputs.q,
            inputs.g,
            neighbours=self.neighbours,
            gallery_temperature=self.gallery_temperature,
            query_temperature=self.query_temperature,
        )
