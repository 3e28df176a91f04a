"""Losses of the joint training: pure functions, and settings of a recipe. ArcFace is the paper's L_disc and L_comp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aff_toolkit.data import Settings

_EDGE = 1e-6
_SHORTEST = 1e-12
# Below it, the gradient of a distance would grow without bound.
_LEAST_SQUARED_DISTANCE = 1e-6


@dataclass(frozen=True, slots=True)
class LossInputs:
    """A batch in the embedding space.

    The caller determines the gradients: decoupled, `g` is detached and `prototypes` is the buffer w_q; coupled, both
    have gradients. Losses detach neither.

    Attributes:
        q: (B, D) float32, unit length: embeddings of the query encoder.
        g: (B, D) float32, unit length: embeddings of the mixer for the same photographs.
        prototypes: (C, D) float32, of any length.
        labels: (B,) int64 in [0, C).
    """

    q: Tensor
    g: Tensor
    prototypes: Tensor
    labels: Tensor


class LossSettings(Settings):
    """Base of the settings of a loss.

    Attributes:
        weight: Factor of the loss in the sum.
    """

    weight: float = Field(default=1.0, gt=0)


def arcface_loss(embeddings: Tensor, prototypes: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Additive angular margin loss (Deng et al., CVPR 2019, eq. 3; Wu et al., CVPR 2023), the mean over the batch.

    Args:
        embeddings: (B, D), unit length.
        prototypes: (C, D), of any length; the products are divided by it, which avoids a second (C, D) tensor.
        labels: (B,) int64 in [0, C).
        scale: Multiplier of the cosines.
        margin: Angle in radians that is added between an embedding and its prototype.
    """
    inverse_lengths = torch.linalg.vector_norm(prototypes, dim=1).clamp_min(_SHORTEST).reciprocal()
    products = embeddings @ prototypes.T
    own = (products.gather(1, labels[:, None]) * inverse_lengths[labels, None]).clamp(-1 + _EDGE, 1 - _EDGE)
    with_margin = scale * torch.cos((own.acos() + margin).clamp(max=torch.pi))
    # In place, because every copy is (B, C); the backward of the product reads its factors only.
    logits = (products * (scale * inverse_lengths)).scatter_(1, labels[:, None], with_margin)
    return F.cross_entropy(logits, labels)


class ArcFace(LossSettings):
    """Classify the query embeddings by the prototypes; see arcface_loss."""

    kind: Literal["arcface"] = "arcface"
    scale: float = Field(default=24.0, gt=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return arcface_loss(inputs.q, inputs.prototypes, inputs.labels, scale=self.scale, margin=self.margin)


def regression_loss(q: Tensor, g: Tensor) -> Tensor:
    """Mean of 1 - cosine of q (B, D) and g (B, D), both of unit length.

    This is the regression of asymmetric metric learning (Budnik and Avrithis, CVPR 2021).
    """
    return 1.0 - (q * g).sum(dim=1).mean()


class Regression(LossSettings):
    """Pull the query embedding of a photograph to its gallery embedding (AML REG)."""

    kind: Literal["reg"] = "reg"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return regression_loss(inputs.q, inputs.g)


def asymmetric_contrastive_loss(q: Tensor, g: Tensor, labels: Tensor, *, margin: float, negatives: int) -> Tensor:
    """Contrastive loss on Euclidean distances across the two models (AML: Budnik and Avrithis, CVPR 2021).

    A positive costs d^2 / 2, a negative max(0, margin - d)^2 / 2. Positives of a query are the gallery embeddings of
    its label in the batch, its own photograph among them, which are averaged; negatives are the nearest ones of other
    labels, at most `negatives`, which are summed. The paper mines both from the whole training set. q and g (B, D) have
    unit length, labels (B,) are int64; the result is the mean over the batch.
    """
    squared = 2.0 - 2.0 * (q @ g.T)
    positive = labels[:, None] == labels[None]
    attraction = (squared.masked_fill(~positive, 0.0) / 2).sum(dim=1) / positive.sum(dim=1)
    distances = squared.clamp(min=_LEAST_SQUARED_DISTANCE).sqrt().masked_fill(positive, torch.inf)
    nearest = distances.topk(min(negatives, len(g)), dim=1, largest=False).values
    repulsion = ((margin - nearest).clamp(min=0.0).square() / 2).sum(dim=1)
    return (attraction + repulsion).mean()


class Contrastive(LossSettings):
    """Pull a query embedding to the gallery embeddings of its instance, push it from the others (AML)."""

    kind: Literal["contrastive"] = "contrastive"
    margin: float = Field(default=0.7, gt=0, le=2)
    negatives: int = Field(default=5, ge=1)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return asymmetric_contrastive_loss(
            inputs.q, inputs.g, inputs.labels, margin=self.margin, negatives=self.negatives
        )


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

    The paper uses each photograph's nearest neighbours in the whole training gallery as anchors. While the mixer is
    trained, the anchors are the nearest gallery embeddings of the batch.

    Args:
        q: (B, D), unit length; cosines are divided by `query_temperature`.
        g: (B, D), unit length; cosines are divided by `gallery_temperature`.
        neighbours: Number of anchors per photograph, limited by the available ones.
        gallery_temperature: See g.
        query_temperature: See q.
        anchors: (A, D), unit length: candidates for the anchors; None uses g.

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
    """Keep the similarities to the neighbours in the gallery space (CSD); needs no labels."""

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


def boundary_excess(q: Tensor, g: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the cosine of q to its centre falls below the class's boundary, the mean over the batch.

    The boundary of a class is the least cosine of its gallery embeddings to the centre; it is a constant. q, g and
    the centre of each row's class are (B, D) of unit length, labels (B,) int64.
    """
    reached = (g * centres).sum(dim=1).detach()
    alike = labels[:, None] == labels[None]
    boundary = reached[None].expand_as(alike).masked_fill(~alike, torch.inf).amin(dim=1)
    return (boundary - (q * centres).sum(dim=1)).clamp(min=0.0).mean()


class CompatibleEmbeddings(LossSettings):
    """LCE (Meng et al., ICCV 2021), with the weights of the authors' released code.

    The new model is classified, its classes are aligned with the centres of the old model, and its embeddings are
    kept within the old model's boundary of each class. Here the old model is the gallery side: the centres are the
    shared prototypes, the boundary of a class follows from its gallery embeddings in the batch (the original takes the
    whole training set), the query embeddings themselves stand for the new model's centres, and the original's
    transformation between two spaces falls away, because both sides share one.

    Attributes:
        alignment_weight: Factor of the alignment.
        boundary_weight: Factor of the excess over the boundary.
        scale: Scale of ArcFace, the classification.
        margin: Margin of ArcFace in radians.
    """

    kind: Literal["lce"] = "lce"
    alignment_weight: float = Field(default=100.0, ge=0)
    boundary_weight: float = Field(default=1.0, ge=0)
    scale: float = Field(default=24.0, gt=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        centres = F.normalize(inputs.prototypes[inputs.labels], dim=1)
        classified = arcface_loss(inputs.q, inputs.prototypes, inputs.labels, scale=self.scale, margin=self.margin)
        return (
            classified
            + self.alignment_weight * F.mse_loss(inputs.q, centres)
            + self.boundary_weight * boundary_excess(inputs.q, inputs.g, centres, inputs.labels)
        )


CompatibilityLoss = Annotated[
    ArcFace | Regression | Contrastive | ContextualSimilarity | CompatibleEmbeddings,
    Field(discriminator="kind"),
]

# For small or unlabelled sets: ArcFace alone is too thin a signal for a query encoder that has seen few classes.
DEFAULT_LOSSES: tuple[ArcFace | Regression, ...] = (ArcFace(), Regression(weight=20.0))
