"""Mixer, query encoder and shared classifier as one module that returns the losses of the joint training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aff_toolkit.data.augmentation import USUAL, Augmentation, augment
from aff_toolkit.models.query_encoder import LightweightEncoder, QueryEncoder
from aff_toolkit.training.engine.optimisation import Side, Trainable
from aff_toolkit.training.engine.training_set import Batch
from aff_toolkit.training.losses import ArcFace, CompatibilityLoss, LossInputs, regression_loss
from gallery_indexer.features.mixers.anchored import AnchoredMixer
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite

Stage = Literal["joint", "gallery", "query"]

_PIXEL_DIMENSIONS = 4


class UpdateRule(BaseModel):
    """Prototypes and targets of the query encoder, and the modules that its gradient reaches.

    Attributes:
        kind: `momentum`: the query encoder is trained with w_q, which follows w_mix and receives no gradient; its
            gradient never reaches the mixer. `coupled`: it is trained with w_mix, and its gradient reaches w_mix and
            the mixer. `two_stage`: mixer and w_mix are trained first, then the query encoder with both frozen.
            `gallery_only`: mixer and w_mix are trained, and the query encoder keeps its initial weights.
        alpha: Share of w_q that each step of `momentum` keeps; 0 copies w_mix after every step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["momentum", "coupled", "two_stage", "gallery_only"] = "momentum"
    alpha: float = Field(default=0.99, ge=0, le=1)


class SharedClassifier(nn.Module):
    """Prototypes `w_mix`, which are trained with the mixer, and `w_q`, which follow them for the query side.

    Attributes:
        w_mix: (C, D) parameter.
        w_q: (C, D) buffer, which no gradient reaches.
    """

    w_q: Tensor

    def __init__(self, classes: int, dimension: int, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha
        self.w_mix = nn.Parameter(torch.empty(classes, dimension))
        nn.init.xavier_uniform_(self.w_mix)
        self.register_buffer("w_q", self.w_mix.detach().clone())

    @torch.no_grad()
    def ema_update(self) -> None:
        """Set w_q to alpha * w_q + (1 - alpha) * w_mix; called after every optimiser step."""
        self.w_q.lerp_(self.w_mix, 1.0 - self._alpha)

    @torch.no_grad()
    def settle(self) -> None:
        """Set w_q to w_mix, as at the start of the second of two stages."""
        self.w_q.copy_(self.w_mix)

    def prototypes_for_query(self, *, coupled: bool) -> Tensor:
        """Return the prototypes of the query side: w_mix with its gradient, or w_q."""
        return self.w_mix if coupled else self.w_q


class JointModel(Trainable):
    """Model of the joint training (Wu et al., CVPR 2023).

    Gradients of L_disc reach the mixer and w_mix. Gradients of the compatibility losses reach the query encoder alone,
    unless the update rule is `coupled`.

    Attributes:
        mixer: Module that returns (B, D) gallery embeddings of features.
        query_encoder: Module that returns (B, D) query embeddings of pixels.
        classifier: Prototypes w_mix and w_q.
    """

    def __init__(
        self,
        mixer: nn.Module,
        query_encoder: QueryEncoder,
        classifier: SharedClassifier,
        *,
        discriminative: ArcFace,
        compatible: tuple[CompatibilityLoss, ...],
        update: UpdateRule,
        stage: Stage,
        train_size: int,
        augmentation: Augmentation = USUAL,
        fine_tuning: FineTuning | None = None,
        anchor_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.query_encoder = query_encoder
        self.classifier = classifier
        self._discriminative = discriminative
        self._compatible = compatible
        self._coupled = update.kind == "coupled"
        self._stage = stage
        self._train_size = train_size
        self._augmentation = augmentation
        self._fine_tuning = fine_tuning
        self._anchor_weight = anchor_weight
        for parameter in (*mixer.parameters(), *classifier.parameters()):
            parameter.requires_grad_(stage != "query")
        for parameter in query_encoder.parameters():
            parameter.requires_grad_(stage != "gallery")
        if fine_tuning is not None:
            fine_tuning.freeze(query_encoder)

    def sides(self) -> list[Side]:
        """Return the parameters of the gallery side and of the query side."""
        gallery = [*self.mixer.parameters(), *self.classifier.parameters()]
        query = list(self.query_encoder.parameters())
        share = 1.0 if self._fine_tuning is None else self._fine_tuning.learning_rate_share
        return [Side(_learning(gallery)), Side(_learning(query), share)]

    def after_step(self) -> None:
        """Update w_q from w_mix."""
        if self._stage == "joint":
            self.classifier.ema_update()

    def train(self, mode: bool = True) -> JointModel:
        """Set the mode; modules that the stage does not train stay in evaluation mode."""
        super().train(mode)
        self.mixer.train(mode and self._stage != "query")
        self.query_encoder.train(mode and self._stage != "gallery")
        if self._fine_tuning is not None:
            for norm in batch_normalisations(self.query_encoder):
                norm.eval()
        return self

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return the weighted losses of a batch, scalars by name; `seed` is that of the query images' augmentation."""
        losses = {}
        with torch.set_grad_enabled(self._stage != "query"):
            g = self.mixer(batch.features).float()
        if self._stage != "query":
            inputs = LossInputs(g, g, self.classifier.w_mix, batch.labels)
            losses["discriminative"] = self._discriminative(inputs)
            if self._anchor_weight and isinstance(self.mixer, AnchoredMixer):
                away = regression_loss(g, self.mixer.start(batch.features))
                losses["anchor"] = self._anchor_weight * away
        if self._stage != "gallery":
            losses |= self._query_losses(batch, g, seed)
        return losses

    def _query_losses(self, batch: Batch, g: Tensor, seed: int) -> dict[str, Tensor]:
        images = batch.pixels
        if images.ndim == _PIXEL_DIMENSIONS:
            images = augment(images, self._train_size, seed, self._augmentation)
        inputs = LossInputs(
            q=F.normalize(self.query_encoder(images).float(), dim=-1),
            g=g if self._coupled else g.detach(),
            prototypes=self.classifier.prototypes_for_query(coupled=self._coupled),
            labels=batch.labels,
        )
        return {loss.kind: loss.weight * loss(inputs) for loss in self._compatible}


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


class FineTuning(BaseModel):
    """How a pretrained query encoder is trained; batch normalisations keep their statistics.

    Attributes:
        frozen_blocks: Number of first blocks of EfficientNet-Lite that keep their weights, with the stem.
        learning_rate_share: Learning rate of the query encoder as a share of the mixer's.
        trained_share: Share of the change that is kept: 1 keeps the trained weights; 0.5 averages them with the initial
            weights, which is more accurate on photographs that differ from the training photographs (WiSE-FT: Wortsman
            et al., CVPR 2022).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frozen_blocks: int = Field(default=0, ge=0)
    learning_rate_share: float = Field(default=1.0, ge=0)
    trained_share: float = Field(default=1.0, ge=0, le=1)

    def freeze(self, encoder: QueryEncoder) -> None:
        """Freeze the first blocks.

        Raises:
            ValueError: The network does not have as many blocks.
        """
        if not self.frozen_blocks:
            return
        trunk = encoder.network.trunk if isinstance(encoder.network, LightweightEncoder) else None
        if not isinstance(trunk, EfficientNetLite) or self.frozen_blocks > len(trunk.blocks):
            raise ValueError(f"this query encoder has no {self.frozen_blocks} blocks that could be frozen")
        for part in (trunk.conv_stem, trunk.bn_stem, *trunk.blocks[: self.frozen_blocks]):
            part.requires_grad_(False)

    @torch.no_grad()
    def keep_share(self, encoder: nn.Module, start: Mapping[str, Tensor]) -> None:
        """Interpolate between the initial and the trained weights by `trained_share`."""
        for name, tensor in encoder.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(start[name].to(tensor.device), tensor, self.trained_share))

    @contextmanager
    def share_kept(self, encoder: nn.Module, start: Mapping[str, Tensor]) -> Iterator[None]:
        """Context in which the encoder has the weights that `keep_share` would set."""
        if self.trained_share == 1:
            yield
            return
        trained = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        self.keep_share(encoder, start)
        try:
            yield
        finally:
            encoder.load_state_dict(trained)


def batch_normalisations(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the batch normalisations of a network."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))
