"""Joint training of the dynamic mixer and the query encoder (Wu et al., CVPR 2023, sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aff_contracts.bundle import FeatureSpec, MixerSpec
from aff_toolkit.training.augmentation import augment
from aff_toolkit.training.image_set import ImageSet
from aff_toolkit.training.losses.arcface import arcface_loss
from aff_toolkit.training.losses.regression import regression_loss
from aff_toolkit.training.optimisation import optimise
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.sampling import drawn_seed, shuffled_batches
from aff_toolkit.training.shared_classifier import SharedClassifier
from gallery_indexer.mixers.transformer import DynamicMixer


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A gallery mixer and the query encoder that was trained with it."""

    mixer: DynamicMixer
    query_encoder: QueryEncoder


def train_pair(
    images: ImageSet,
    query_encoder: QueryEncoder,
    features: tuple[FeatureSpec, ...],
    mixer_spec: MixerSpec,
    recipe: TrainingRecipe,
    *,
    after_step: Callable[[], None],
    after_epoch: Callable[[int, dict[str, float]], None],
) -> TrainedPair:
    """Minimise L_disc + L_comp (+ decoupled regression) with one optimiser over both models.

    Gradients of L_disc reach the mixer and w_mix; gradients of L_comp and of the regression reach only the query
    encoder, because w_q is a buffer and the regression's targets are detached.

    Args:
        images: Training images with the features of every frozen extractor.
        query_encoder: Learns in place.
        features: The features, in the mixer's order.
        mixer_spec: Size of the mixer.
        recipe: Everything else.
        after_step: Called after every optimiser step.
        after_epoch: Called with the epoch's number, from 1, and the mean of each loss.
    """
    section = recipe.joint
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    mixer = DynamicMixer(features, mixer_spec, recipe.dimension)
    classifier = SharedClassifier(images.classes, recipe.dimension, section.momentum)

    def arcface(embeddings: Tensor, prototypes: Tensor, labels: Tensor) -> Tensor:
        return arcface_loss(embeddings, prototypes, labels, scale=section.arcface.scale, margin=section.arcface.margin)

    def losses_of(rows: Tensor) -> dict[str, Tensor]:
        labels = images.labels[rows]
        g_mix = mixer(images.features_of(rows))
        q = query_encoder(augment(images.pixels[rows], recipe.query_encoder.train_size, drawn_seed(generator)))
        losses = {
            "discriminative": arcface(g_mix, classifier.w_mix, labels),
            "compatible": arcface(q, classifier.w_q, labels),
        }
        if section.regression_weight:
            losses["regression"] = section.regression_weight * regression_loss(q, g_mix.detach())
        return losses

    def follow() -> None:
        classifier.follow()
        after_step()

    optimise(
        nn.ModuleList([mixer, query_encoder, classifier]),
        lambda: shuffled_batches(len(images.labels), section.optimisation.batch_size, generator),
        losses_of,
        section.optimisation,
        after_step=follow,
        after_epoch=after_epoch,
    )
    return TrainedPair(mixer.eval(), query_encoder.eval())
