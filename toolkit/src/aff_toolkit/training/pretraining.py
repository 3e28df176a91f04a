"""Pretraining of the compact network and of the query encoder, on instances that the joint training never sees.

The paper starts from extractors trained elsewhere and from a query backbone with ImageNet weights. Where neither is at
hand, a contrastive loss on pairs of photographs teaches a network from scratch far faster than prototypes do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aff_toolkit.training.augmentation import augment
from aff_toolkit.training.image_set import ImageSet
from aff_toolkit.training.losses.supervised_contrastive import supervised_contrastive_loss
from aff_toolkit.training.optimisation import optimise
from aff_toolkit.training.recipe import OptimisationSection
from aff_toolkit.training.sampling import drawn_seed, paired_batches
from gallery_indexer.extractors.compact_cnn import CompactCnn

_WHITENING_IMAGES = 2000
_BATCH = 64


def pretrain(
    network: nn.Module,
    embed: Callable[[Tensor], Tensor],
    images: ImageSet,
    section: OptimisationSection,
    *,
    train_size: int,
    temperature: float,
    generator: torch.Generator,
    after_step: Callable[[], None],
    after_epoch: Callable[[int, dict[str, float]], None],
) -> None:
    """Train a network in place with the supervised contrastive loss.

    Args:
        network: What learns.
        embed: Takes augmented images (B, train_size, train_size, 3) float32 from 0 to 255 through the network to
            unit embeddings (B, D).
        images: Labelled photographs; instances with one photograph are left out.
        section: Epochs, batch size, learning rate.
        train_size: Pixels of a side.
        temperature: Of the loss.
        generator: Source of every random choice.
        after_step: Called after every optimiser step.
        after_epoch: Called with the epoch's number, from 1, and the mean of each loss.
    """

    def losses_of(rows: Tensor) -> dict[str, Tensor]:
        embeddings = embed(augment(images.pixels[rows], train_size, drawn_seed(generator))).float()
        labels = images.labels[rows]
        return {"contrastive": supervised_contrastive_loss(embeddings, labels, temperature=temperature)}

    optimise(
        network,
        lambda: paired_batches(images.labels, section.batch_size, generator),
        losses_of,
        section,
        after_step=after_step,
        after_epoch=after_epoch,
    )


@torch.inference_mode()
def fit_local_whitening(network: CompactCnn, images: ImageSet, tokens: int, generator: torch.Generator) -> None:
    """Fit the whitening of a trained network's local descriptors on a sample of the images."""
    network.eval()
    rows = torch.randperm(len(images.labels), generator=generator)[:_WHITENING_IMAGES]
    activations = [network.activations(images.pixels[chunk].permute(0, 3, 1, 2)) for chunk in rows.split(_BATCH)]
    network.fit_local_whitening(
        torch.cat([network.strongest_activations(chunk, tokens).flatten(0, 1) for chunk in activations])
    )
