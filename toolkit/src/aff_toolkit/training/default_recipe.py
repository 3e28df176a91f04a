"""Default recipes for a user's own photographs, starting from an existing bundle."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from aff_toolkit.data.photograph_source import PhotographSource, source_of_path
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, query_backbone_of
from aff_toolkit.training.engine.head_fitting import ContextualFitting, HeadFitting, RidgeFitting
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.losses import ArcFace, CompatibilityLoss, ContextualSimilarity, Regression
from aff_toolkit.training.recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.recipe_sections import (
    BaseSection,
    EvaluationSection,
    JointSection,
    MixerSection,
    QueryEncoderSection,
)

GalleryMode = Literal["keep", "train"]

# After some thousands of steps the light network stops improving on a few thousand photographs.
_STEPS = 3000
_MOST_EPOCHS = 150
_VALIDATIONS = 20
_BATCH = 64
_SMALLEST_BATCH = 8
_LEAST_STEPS_OF_EPOCH = 4
_FEWEST_PHOTOGRAPHS = 40
_HELD_OUT = 0.1
_KEPT = 1 - 2 * _HELD_OUT
_COPIES = 3
# Networks that were trained on more than a few thousand photographs keep all layers but the last, and the mixer stays
# near its anchor, as in toolkit/configs/photos.toml.
_PRETRAINED = ("efficientnet-lite0", "efficientnet-lite0-colour")
_FIXED_QUERY = UpdateRule(kind="gallery_only")
_ANCHOR_WEIGHT = 5.0
_MIXER_BATCH = 128
_MIXER_EPOCHS = 10
_MIXER_LEARNING_RATE = 1.5e-4
_SEED = 1
_NAME = "own-photographs"
_FALLBACK_BACKBONE = "residual-16"
# The query encoder is trained at 6/7 of its input side in service, because crops enlarge their content (Touvron et
# al., "Fixing the train-test resolution discrepancy", NeurIPS 2019).
_TRAIN_SHARE = 6 / 7
_STORED_SHARE = 8 / 7

# Measured on photographs without labels with a frozen gallery side: better than either of the two losses alone.
DISTILLING: tuple[CompatibilityLoss, ...] = (ContextualSimilarity(weight=4.0), Regression(weight=20.0))


def recipe_for_path(
    images: Path,
    bundle: Path,
    *,
    gallery: GalleryMode | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    labelled: bool | None = None,
) -> TrainingRecipe:
    """Return a recipe for the photographs of a path: see source_of_path and recipe_for_photographs.

    The base's prototypes are used if the base was trained on this very source by a recipe of this function.

    Raises:
        AffError: The path, its photographs or the bundle cannot be used, or the backbone does not exist.
    """
    if backbone is not None and backbone not in QUERY_BACKBONES:
        known = ", ".join([*QUERY_BACKBONES, "timm:NAME", "torchvision:NAME"])
        raise RecipeError(f"this query backbone does not exist; there are {known}", item=backbone)
    source, base = source_of_path(images.resolve(), labelled=labelled), BaseBundle.open(bundle)
    return recipe_for_photographs(
        source,
        len(source.photographs()),
        base,
        gallery=gallery,
        backbone=backbone,
        epochs=epochs,
        by_prototypes=base.manifest.prototypes is not None and _trained_on(base, source),
    )


def _trained_on(base: BaseBundle, source: PhotographSource) -> bool:
    recorded = base.manifest.recipe
    own = recorded.get("name") == _NAME and source.labelled
    return own and [one["photographs"] for one in recorded["joint"]["sources"]] == [source.model_dump(mode="json")]


def recipe_for_photographs(
    source: PhotographSource,
    count: int,
    base: BaseBundle,
    *,
    gallery: GalleryMode | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    by_prototypes: bool = False,
) -> TrainingRecipe:
    """Return a recipe that trains a pair for photographs, starting from a bundle.

    Args:
        source: The photographs, with labels or without.
        count: Number of photographs, which determines epochs and batch size.
        base: Bundle whose extractors, mixer and, for the same backbone, query encoder are used.
        gallery: `keep` the gallery side, so that galleries of the base need no reindexing, or `train` the mixer too, by
            the labels or by groups of similar photographs. None trains it if there are labels.
        backbone: Backbone of a query encoder that is trained from scratch; None uses the base's.
        epochs: Passes over the photographs; None computes them for some thousands of steps.
        by_prototypes: Classify query embeddings by the base's prototypes too.

    Raises:
        TooFewPhotographsError: There are fewer than 40 photographs.
    """
    if count < _FEWEST_PHOTOGRAPHS:
        detail = f"{count} photographs are too few to train on; at least {_FEWEST_PHOTOGRAPHS} are needed"
        raise TooFewPhotographsError(detail, item=str(getattr(source, "path", source.kind)))
    train = (gallery or ("train" if source.labelled else "keep")) == "train"
    own, size = query_backbone_of(base.manifest), base.manifest.query_encoder.preprocessing.size
    same = own is not None and backbone in {None, own}
    return TrainingRecipe(
        name=_NAME if backbone is None else re.sub(r"[^a-z0-9.-]+", "-", f"query-{backbone}".lower()),
        seed=_SEED,
        dimension=base.manifest.space.dimension,
        stored_size=round(size * _STORED_SHARE),
        base=BaseSection(bundle=base.directory, mixer="start" if train else "frozen"),
        mixer=MixerSection.model_validate(base.manifest.mixer.model_dump(exclude={"weights"})),
        query_encoder=QueryEncoderSection(
            backbone=backbone or own or _FALLBACK_BACKBONE, train_size=round(size * _TRAIN_SHARE), input_size=size
        ),
        joint=_joint_section(
            source,
            fitted=same and own in _PRETRAINED,
            anchored=train and base.manifest.mixer.anchor is not None,
            train=train,
            losses=(ArcFace(), *DISTILLING) if train or by_prototypes else DISTILLING,
            optimisation=_optimisation(count, epochs, fitted=same and own in _PRETRAINED),
        ),
        # A requested other backbone is written even if it is less accurate than the base.
        evaluation=EvaluationSection(held_out_share=_HELD_OUT, keep="better" if same else "trained"),
    )


def _joint_section(
    source: PhotographSource,
    *,
    fitted: bool,
    anchored: bool,
    train: bool,
    losses: tuple[CompatibilityLoss, ...],
    optimisation: OptimisationSection,
) -> JointSection:
    fitting: HeadFitting = RidgeFitting() if source.labelled else ContextualFitting()
    return JointSection(
        sources=(TrainingSource(photographs=source),),
        pseudo_instances=None if source.labelled else PseudoInstancesSection(),
        validation_share=_HELD_OUT,
        copies=_COPIES if train and (not fitted or not source.labelled) else 1,
        prototypes="means" if anchored else "random",
        anchor_weight=_ANCHOR_WEIGHT if anchored else 0.0,
        losses=losses,
        update=_FIXED_QUERY if fitted else UpdateRule(),
        head_fitting=fitting if fitted else None,
        optimisation=optimisation,
    )


def _optimisation(count: int, epochs: int | None, *, fitted: bool) -> OptimisationSection:
    kept = int(count * _KEPT)
    batch = max(min(_MIXER_BATCH if fitted else _BATCH, kept // _LEAST_STEPS_OF_EPOCH), _SMALLEST_BATCH)
    if fitted:
        return OptimisationSection(epochs=epochs or _MIXER_EPOCHS, batch_size=batch, learning_rate=_MIXER_LEARNING_RATE)
    passes = epochs or min(max(math.ceil(_STEPS / (kept // batch)), 1), _MOST_EPOCHS)
    return OptimisationSection(
        epochs=passes,
        batch_size=batch,
        learning_rate=1e-3,
        validation_interval_epochs=max(passes // _VALIDATIONS, 1),
    )
