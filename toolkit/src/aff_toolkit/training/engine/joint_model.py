"""Mixer, query encoder and shared classifier as one module that returns losses, and the settings of their training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aff_toolkit.data import Settings
from aff_toolkit.data.augmentation import Augmentation, augment
from aff_toolkit.models.query_encoder import LightweightEncoder, QueryEncoder
from aff_toolkit.training.engine.optimisation import Side, Trainable
from aff_toolkit.training.engine.training_set import Batch
from aff_toolkit.training.losses import DEFAULT_LOSSES, ArcFace, CompatibilityLoss, LossInputs, regression_loss
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite

Stage = Literal["joint", "gallery", "query"]

_PIXEL_DIMENSIONS = 4


class UpdateRule(Settings):
    """Prototypes and targets of the query encoder, and the modules that its gradient reaches.

    Attributes:
        kind: `momentum`: the query encoder is trained with w_q, which follows w_mix and receives no gradient; its
            gradient never reaches the mixer. `coupled`: it is trained with w_mix, and its gradient reaches w_mix and
            the mixer. `two_stage`: mixer and w_mix are trained first, then the query encoder with both frozen.
            `gallery_only`: mixer and w_mix are trained, and the query encoder keeps its initial weights.
        alpha: Share of w_q that each step of `momentum` keeps; 0 copies w_mix after every step.
    """

    kind: Literal["momentum", "coupled", "two_stage", "gallery_only"] = "momentum"
    alpha: float = Field(default=0.99, ge=0, le=1)


class JointSettings(Settings):
    """Losses of the joint training, their weights, and the update rule.

    Attributes:
        augmentation: Augmentation of the query encoder's inputs and of the stored copies.
        discriminative: L_disc of the mixer.
        anchor_weight: Weight of 1 - cosine between the embeddings of an anchored mixer and its anchor. Without it,
            accuracy on other kinds of photographs drops.
        losses: Compatibility losses of the query encoder, which are summed.
        update: How the query side follows the shared classifier.
    """

    augmentation: Augmentation = Augmentation()
    discriminative: ArcFace = ArcFace()
    anchor_weight: float = Field(default=0.0, ge=0)
    losses: tuple[CompatibilityLoss, ...] = Field(default=DEFAULT_LOSSES, min_length=1)
    update: UpdateRule = UpdateRule()


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
        settings: JointSettings,
        *,
        stage: Stage,
        train_size: int,
        fine_tuning: FineTuning | None = None,
    ) -> None:
        super().__init__()
        self.mixer, self.query_encoder, self.classifier = mixer, query_encoder, classifier
        self._settings = settings
        self._coupled = settings.update.kind == "coupled"
        self._stage = stage
        self._train_size = train_size
        self._fine_tuning = fine_tuning
        for parameter in (*mixer.parameters(), *classifier.parameters()):
            parameter.requires_grad_(stage != "query")
        for parameter in query_encoder.parameters():
            parameter.requires_grad_(stage != "gallery")
        if fine_tuning is not None:
            fine_tuning.freeze(query_encoder)

    def sides(self) -> list[Side]:
        """Return the parameters of the gallery side and of the query side."""
        share = 1.0 if self._fine_tuning is None else self._fine_tuning.learning_rate_share
        gallery = (*self.mixer.parameters(), *self.classifier.parameters())
        return [
            Side([parameter for parameter in gallery if parameter.requires_grad]),
            Side([parameter for parameter in self.query_encoder.parameters() if parameter.requires_grad], share),
        ]

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
            for module in self.query_encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return the weighted losses of a batch, scalars by name; `seed` is that of the query images' augmentation."""
        losses = {}
        with torch.set_grad_enabled(self._stage != "query"):
            g = self.mixer(batch.features).float()
        if self._stage != "query":
            inputs = LossInputs(g, g, self.classifier.w_mix, batch.labels)
            losses["discriminative"] = self._settings.discriminative(inputs)
            if self._settings.anchor_weight and isinstance(self.mixer, AnchoredMixer):
                away = regression_loss(g, self.mixer.start(batch.features))
                losses["anchor"] = self._settings.anchor_weight * away
        if self._stage != "gallery":
            losses |= self._query_losses(batch, g, seed)
        return losses

    def _query_losses(self, batch: Batch, g: Tensor, seed: int) -> dict[str, Tensor]:
        images = batch.pixels
        if images.ndim == _PIXEL_DIMENSIONS:
            images = augment(images, self._train_size, seed, self._settings.augmentation)
        inputs = LossInputs(
            q=F.normalize(self.query_encoder(images).float(), dim=-1),
            g=g if self._coupled else g.detach(),
            prototypes=self.classifier.w_mix if self._coupled else self.classifier.w_q,
            labels=batch.labels,
        )
        return {loss.kind: loss.weight * loss(inputs) for loss in self._settings.losses}


class FineTuning(Settings):
    """How a pretrained query encoder is trained; batch normalisations keep their statistics.

    Attributes:
        frozen_blocks: Number of first blocks of EfficientNet-Lite that keep their weights, with the stem.
        learning_rate_share: Learning rate of the query encoder as a share of the mixer's.
        trained_share: Share of the change that is kept: 1 keeps the trained weights; 0.5 averages them with the initial
            weights, which is more accurate on photographs that differ from the training photographs (WiSE-FT: Wortsman
            et al., CVPR 2022).
    """

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
