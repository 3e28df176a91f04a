"""Pretraining of the compact network and of the query encoder, on instances that the joint training excludes.

The paper starts from pretrained extractors and from a query backbone with ImageNet weights. Without them, a contrastive
loss on pairs of photographs trains a network from scratch far faster than prototypes do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from aff_toolkit.data.augmentation import augment
from aff_toolkit.data.photograph import without_single_images
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.optimisation import OptimisationSection, Side, Trainable, TrainingPlan
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import Batch, TrainingSet, generator_of, paired_batches
from aff_toolkit.training.engine.work_directory import WorkDirectory
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import CompactCnnSection, PretrainingSection, QueryEncoderSection
from gallery_indexer.features.extractors.compact_cnn import CompactCnn

_WHITENING_IMAGES = 2000
_BATCH = 64


class ContrastivePretraining(Trainable):
    """A network with the supervised contrastive loss over the pairs of a batch."""

    def __init__(
        self, network: nn.Module, embed: Callable[[Tensor], Tensor], *, train_size: int, temperature: float
    ) -> None:
        """Wrap a network.

        Args:
            network: The trained network.
            embed: Function that maps (B, S, S, 3) float32 from 0 to 255 to unit embeddings (B, D) by the network.
            train_size: Side S in pixels.
            temperature: Temperature of the loss.
        """
        super().__init__()
        self.network = network
        self._embed = embed
        self._train_size = train_size
        self._temperature = temperature

    def sides(self) -> list[Side]:
        """Return the network's parameters as one group."""
        return [Side(list(self.parameters()))]

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return the loss of a batch that contains every label at least twice."""
        embeddings = self._embed(augment(batch.pixels, self._train_size, seed)).float()
        return {"contrastive": supervised_contrastive_loss(embeddings, batch.labels, temperature=self._temperature)}


@torch.inference_mode()
def fit_local_whitening(network: CompactCnn, photographs: FeatureStore, tokens: int, seed: int) -> None:
    """Fit the whitening of a trained network's local descriptors on a sample of the photographs."""
    network.eval()
    readable = np.flatnonzero(photographs.readable)
    sample = readable[
        torch.randperm(len(readable), generator=torch.Generator().manual_seed(seed))[:_WHITENING_IMAGES].numpy()
    ]
    descriptors = []
    for start in range(0, len(sample), _BATCH):
        pixels = torch.from_numpy(photographs.read_pixels(np.sort(sample)[start : start + _BATCH]))
        activations = network.activations(pixels.permute(0, 3, 1, 2))
        descriptors.append(network.strongest_activations(activations, tokens).flatten(0, 1))
    network.fit_local_whitening(torch.cat(descriptors))


@dataclass(frozen=True)
class Pretraining:
    """Trains the networks of a recipe that start from scratch."""

    recipe: TrainingRecipe
    work: WorkDirectory

    def train_compact_cnn(self, section: CompactCnnSection, weights: Path) -> None:
        """Train the compact network and write it to `weights`."""
        network = CompactCnn(section.width, section.global_dimension, section.local_dimension)

        def embed(images: Tensor) -> Tensor:
            pixels = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            embeddings: Tensor = network(pixels)
            return embeddings

        self._train("compact_cnn", network, embed, section, section.optimisation)
        fit_local_whitening(network, self._store, section.local_tokens, self.recipe.seed)
        weights.parent.mkdir(parents=True, exist_ok=True)
        self.work.once(lambda: save_model(network, str(weights)))

    def train_query_encoder(self, encoder: QueryEncoder, optimisation: OptimisationSection) -> None:
        """Train a query encoder in place."""
        self._train("query_encoder", encoder, encoder.forward, self.recipe.query_encoder, optimisation)

    def _train(
        self,
        name: str,
        network: nn.Module,
        embed: Callable[[Tensor], Tensor],
        section: CompactCnnSection | QueryEncoderSection,
        optimisation: OptimisationSection,
    ) -> None:
        """Pretrain a network, or resume its pretraining from a checkpoint."""
        seed, temperature = self.recipe.seed, self._section.temperature
        photographs = TrainingSet(self._store, [])
        plan = TrainingPlan(
            batches_of_epoch=lambda epoch: paired_batches(
                photographs.labels, optimisation.batch_size, generator_of(seed, epoch)
            ),
            training_set=photographs,
            section=optimisation,
            seed=seed,
            directory=self.work.path / "checkpoints" / name,
            configuration={
                "network": section.model_dump(mode="json", exclude={"optimisation"}),
                "temperature": temperature,
                "photographs": self._store.key,
            },
        )
        module = ContrastivePretraining(network, embed, train_size=section.train_size, temperature=temperature)
        with self.work.log.stage(f"pretraining_{name}", None, "images") as stage:
            TrainingLoop(module, plan, self.work.accelerator, stage).run()
        network.cpu().eval()

    @property
    def _section(self) -> PretrainingSection:
        assert self.recipe.pretraining is not None, "the recipe requires it"
        return self.recipe.pretraining

    @cached_property
    def _store(self) -> FeatureStore:
        photographs, single = without_single_images(load_sources(self._section.sources))
        self.work.report_left_out(single)
        settings = StoreSettings(pixel_size=self.recipe.stored_size, seed=self.recipe.seed)
        return self.work.store("pretraining", photographs, ExtractorSet(), lambda _: {}, settings)


def supervised_contrastive_loss(embeddings: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss within a batch (Khosla et al., NeurIPS 2020, eq. 2), the mean over the batch.

    `embeddings` (B, D) have unit length; every label of `labels` (B,) int64 occurs at least twice; cosines are divided
    by the temperature.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, float("-inf"))
    positive = (labels[:, None] == labels[None]) & ~itself
    log_shares = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
    return -(log_shares.sum(dim=1) / positive.sum(dim=1)).mean()
