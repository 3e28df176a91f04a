"""The query encoder that a training starts with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder, QueryEncoder, query_backbone_of
from aff_toolkit.training.features.feature_store import FeatureStore, sample_readable
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.pretraining import Pretraining
from gallery_indexer.features.extractors.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteExtractor
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite

_CALIBRATION_IMAGES = 256
_ROWS = 1024
_LEAST_VARIANCE = 1e-12


def start_query_encoder(
    recipe: TrainingRecipe, base: BaseBundle | None, store: FeatureStore, pretraining: Pretraining
) -> QueryEncoder:
    """Build the recipe's query encoder: with the weights of the base, pretrained, or fresh.

    The weights of a bundle are calibrated on the photographs of the store.

    Raises:
        BundleError: The query encoder of the base, or of the bundle that is named, is of another architecture; the
            bundle is missing or altered.
        ExtractorUnavailableError: The pretrained weights are not here, or are of another network.
        AffError: The pretraining fails.
    """
    torch.manual_seed(recipe.seed)
    encoder = QUERY_BACKBONES[recipe.query_encoder.backbone].build(recipe.dimension)
    pretrained = recipe.query_encoder.pretrained
    if pretrained is not None:
        weights = PretrainedWeights(pretrained, recipe.query_encoder.revision)
        weights.load_into(encoder, lambda: _calibration_images(recipe, store))
    if base is not None and _starts_at(base, recipe):
        base.load_query_encoder(encoder, _calibration_images(recipe, store))
    elif recipe.query_encoder.optimisation is not None:
        pretraining.train_query_encoder(encoder, recipe.query_encoder.optimisation)
    return encoder


def _starts_at(base: BaseBundle, recipe: TrainingRecipe) -> bool:
    section, wanted = recipe.base, recipe.query_encoder
    if section is not None and section.query_encoder is not None:
        return section.query_encoder == "start"
    same = query_backbone_of(base.manifest) == wanted.backbone
    return same and wanted.pretrained is None and wanted.optimisation is None


def _calibration_images(recipe: TrainingRecipe, store: FeatureStore) -> Tensor:
    sample = sample_readable(store, _CALIBRATION_IMAGES, recipe.seed)
    return torch.from_numpy(store.read_pixels(sample))


def start_at_anchor(
    mixer: AnchoredMixer,
    encoder: QueryEncoder,
    store: FeatureStore,
    extractor: ExtractorSpec,
    whitening: float,
    *,
    learned: bool,
) -> bool:
    """Set anchor and query encoder to the same whitening: fitted on the photographs, or the encoder's.

    A query encoder with another network than the anchor's keeps its head, and has to be trained for the space. See
    fit_partial_whitening for the exponent `whitening`; with `learned`, the query encoder has a trained head, which the
    anchor adopts.

    Returns:
        Whether the query encoder starts at the anchor.

    Raises:
        TooFewPhotographsError: There are no more photographs than dimensions.
    """
    network = encoder.network
    head = network.whitening if isinstance(network, LightweightEncoder) and _is_network_of(network, extractor) else None
    if learned and isinstance(head, nn.Linear):
        mixer.set_anchor(head.weight, head.bias)
        return True
    weight, bias = fit_partial_whitening(_vectors(store, mixer.anchor_name), len(mixer.anchor_bias), whitening)
    mixer.set_anchor(weight, bias)
    if not isinstance(head, nn.Linear):
        return False
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return True


def _is_network_of(network: LightweightEncoder, extractor: ExtractorSpec) -> bool:
    """Return whether a query network pools the extractor's feature: same trunk, same pooling, same colour weight."""
    if extractor.family != EfficientNetLiteExtractor.FAMILY:
        return False
    config, trunk = EfficientNetLiteConfig.model_validate(extractor.config), network.trunk
    same = isinstance(trunk, EfficientNetLite) and trunk.variant == config.variant
    return same and (network.colour_weight, network.pool.exponent.item()) == (config.colour_weight, config.gem_exponent)


def fit_partial_whitening(vectors: NDArray[np.float32], dimension: int, exponent: float) -> tuple[Tensor, Tensor]:
    """Fit a projection of vectors (n, d) to D principal components whose variances are partly equalised.

    Full whitening (exponent 0.5; Jegou and Chum, ECCV 2012) weights the weakest components, which are mostly noise,
    like the strongest; without whitening (0), what all photographs have in common dominates.

    Returns:
        Weight (D, d) and bias (D,) float32 of the linear map; its outputs have a mean length of 1 on the vectors.

    Raises:
        TooFewPhotographsError: n is not above D.
    """
    if len(vectors) <= dimension:
        detail = f"{len(vectors)} photographs are too few to fit {dimension} dimensions on; take a smaller dimension"
        raise TooFewPhotographsError(detail, item="mixer.anchor")
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    variances, components = np.linalg.eigh(centred.T @ centred / (len(vectors) - 1))
    strongest = slice(None, -dimension - 1, -1)
    scales = np.maximum(variances[strongest], _LEAST_VARIANCE) ** -exponent
    projection = (components[:, strongest] * scales).T
    projection /= np.linalg.norm(centred @ projection.T, axis=1).mean()
    return torch.from_numpy(projection).float(), torch.from_numpy(-projection @ mean).float()


def _vectors(store: FeatureStore, feature: str) -> NDArray[np.float32]:
    rows = np.flatnonzero(store.readable)
    parts = [
        store.read_features(rows[first : first + _ROWS], [feature])[feature].values[:, 0].numpy()
        for first in range(0, len(rows), _ROWS)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
