"""The compatibility losses that a recipe may choose by their `kind`; a weighted sum trains the query encoder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aff_toolkit.training.losses.arcface import ArcFace
from aff_toolkit.training.losses.compatible_embeddings import CompatibleEmbeddings
from aff_toolkit.training.losses.contextual_similarity import ContextualSimilarity
from aff_toolkit.training.losses.contrastive import Contrastive
from aff_toolkit.training.losses.regression import Regression

CompatibilityLoss = Annotated[
    ArcFace | Regression | Contrastive | ContextualSimilarity | CompatibleEmbeddings, Field(discriminator="kind")
]

# For small or unlabelled sets: ArcFace alone is too thin a signal for a query encoder that has seen few classes.
DEFAULT_LOSSES: tuple[ArcFace | Regression, ...] = (ArcFace(), Regression(weight=20.0))
