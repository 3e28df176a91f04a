"""Training of the compact network, on instances that the mixer never sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aff_toolkit.training.augmentation import augment
from aff_toolkit.training.image_set import ImageSet
from aff_toolkit.training.losses import supervised_contrastive_loss
from aff_toolkit.training.optimisation import optimise
from aff_toolkit.training.recipe import CompactCnnSection
from aff_toolkit.training.sampling import paired_batches
from gallery_indexer.extractors.compact_cnn import CompactCnn

_WHITENING_IMAGES = 2000
_BATCH = 64


def train_compact_cnn(
    images: ImageSet,
    section: CompactCnnSection,
    *,
    seed: int,
    after_step: Callable[[], None],
    after_epoch: Callable[[int, dict[str, float]], None],
) -> CompactCnn:
    """Train with a contrastive loss on pairs of photographs; then fit the whitening of the local descriptors.

    With few views of each instance and no pretrained weights, pairs teach far faster than prototypes do.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = CompactCnn(section.width, section.global_dimension, section.local_dimension)

    def losses_of(rows: Tensor) -> dict[str, Tensor]:
        pixels = augment(images.pixels[rows], section.train_size, generator).permute(0, 3, 1, 2)
        embeddings = network(pixels.contiguous(memory_format=torch.channels_last)).float()
        labels = images.labels[rows]
        return {"contrastive": supervised_contrastive_loss(embeddings, labels, temperature=section.temperature)}

    optimise(
        network,
        lambda: paired_batches(images.labels, section.optimisation.batch_size, generator),
        losses_of,
        section.optimisation,
        after_step=after_step,
        after_epoch=after_epoch,
    )
    _fit_local_whitening(network, images, section.local_tokens, generator)
    return network


@torch.inference_mode()
def _fit_local_whitening(network: CompactCnn, images: ImageSet, tokens: int, generator: torch.Generator) -> None:
    network.eval()
    rows = torch.randperm(len(images.labels), generator=generator)[:_WHITENING_IMAGES]
    sample = [
        network.strongest_activations(network.activations(images.pixels[chunk].permute(0, 3, 1, 2)), tokens).flatten(
            0, 1
        )
        for chunk in rows.split(_BATCH)
    ]
    network.fit_local_whitening(torch.cat(sample))
