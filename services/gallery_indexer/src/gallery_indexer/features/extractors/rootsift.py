"""RootSIFT (Lowe 2004; Arandjelovic and Zisserman, CVPR 2012): a local extractor without weights.

With VLAD, one detection has two features: the strongest keypoints as tokens, and all of them in a global feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.vlad import VladEncoder, VladNormalisation

DESCRIPTOR_WIDTH = 128
_WIDTH = DESCRIPTOR_WIDTH + 2


@dataclass(frozen=True, slots=True)
class Keypoints:
    """SIFT keypoints of one image, the strongest first.

    Attributes:
        descriptors: (n, 128) float32 RootSIFT, unit length.
        positions: (n, 2) float32, x then y as shares of the image's width and height.
        strengths: (n,) float32, the detector's responses.
    """

    descriptors: NDArray[np.float32]
    positions: NDArray[np.float32]
    strengths: NDArray[np.float32]


class RootSift:
    """The strongest SIFT keypoints of an image, RootSIFT-normalised, with their positions appended.

    A token is 130 wide: the Hellinger-mapped descriptor (unit length), then x and y from -1 to 1.
    """

    FAMILY: ClassVar[str] = "rootsift"

    def __init__(self, spec: ExtractorSpec) -> None:
        self.spec = spec
        self._feature = spec.features[0]
        self._sift = sift_detector(self._feature.max_tokens)

    @classmethod
    def load(cls, spec: ExtractorSpec, _weights: Path, _device: torch.device) -> RootSift:
        """Build the extractor, which has no weights and runs on the CPU."""
        return cls(spec)

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor; an image without keypoints has an all-False mask."""
        found = [detect_keypoints(self._sift, preprocess(image, self.spec.preprocessing)) for image in images]
        return {self._feature.name: strongest_tokens(found, self._feature.max_tokens)}


def sift_detector(max_keypoints: int) -> cv2.SIFT:
    """Return OpenCV's SIFT for about `max_keypoints` per image; equally strong keypoints are all included."""
    sift: cv2.SIFT = cv2.SIFT_create(nfeatures=max_keypoints)  # type: ignore[attr-defined]
    return sift


def detect_keypoints(sift: cv2.SIFT, image: NDArray[np.uint8]) -> Keypoints:
    """Detect and describe the keypoints of an image (h, w, 3) uint8 RGB."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        nothing = np.zeros(0, dtype=np.float32)
        return Keypoints(nothing.reshape(0, DESCRIPTOR_WIDTH), nothing.reshape(0, 2), nothing)
    strengths = np.array([keypoint.response for keypoint in keypoints], dtype=np.float32)
    order = np.argsort(-strengths, kind="stable")
    height, width = grey.shape
    points = np.array([keypoints[i].pt for i in order], dtype=np.float32)
    shares = np.divide(points, (width, height), dtype=np.float32)
    return Keypoints(rootsift(np.asarray(descriptors, dtype=np.float32)[order]), shares, strengths[order])


def strongest_tokens(found: Sequence[Keypoints], max_tokens: int) -> FeatureBatch:
    """Return the strongest keypoints of each of B images as tokens (B, max_tokens, 130)."""
    values = np.zeros((len(found), max_tokens, _WIDTH), dtype=np.float32)
    mask = np.zeros(values.shape[:2], dtype=bool)
    positions = np.zeros((*mask.shape, 2), dtype=np.float32)
    strengths = np.zeros(mask.shape, dtype=np.float32)
    for row, keypoints in enumerate(found):
        count = min(len(keypoints.positions), max_tokens)
        mask[row, :count] = True
        positions[row, :count] = keypoints.positions[:count]
        strengths[row, :count] = keypoints.strengths[:count]
        values[row, :count, :DESCRIPTOR_WIDTH] = keypoints.descriptors[:count]
        values[row, :count, DESCRIPTOR_WIDTH:] = 2.0 * keypoints.positions[:count] - 1.0
    return FeatureBatch(*(torch.from_numpy(array) for array in (values, mask, positions, strengths)))


def rootsift(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map SIFT descriptors (n, 128) to RootSIFT: L1-normalise, take square roots; rows have unit length."""
    shares: NDArray[np.float32] = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    return np.sqrt(shares)


def rootsift_feature(max_tokens: int) -> FeatureSpec:
    """Return the specification of the feature of `strongest_tokens`."""
    return FeatureSpec(name="rootsift", kind="local", dimension=_WIDTH, max_tokens=max_tokens)


def rootsift_spec(*, size: int, max_tokens: int) -> ExtractorSpec:
    """Return the specification of a RootSIFT extractor for photographs with a longest side of `size` pixels."""
    return ExtractorSpec(
        name=RootSift.FAMILY,
        family=RootSift.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(rootsift_feature(max_tokens),),
        weights_source="none: computed by OpenCV",
    )


class RootSiftVlad:
    """The features `rootsift` (local, as in the family of that name) and `rootsift_vlad` (global).

    The VLAD aggregates all detected keypoints, the `max_descriptors` strongest; the tokens are the strongest of those.
    The local feature is optional.
    """

    FAMILY: ClassVar[str] = "rootsift_vlad"

    def __init__(self, spec: ExtractorSpec, encoder: VladEncoder) -> None:
        self.spec = spec
        self._encoder = encoder
        (self._global,) = (feature for feature in spec.features if feature.kind == "global")
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        encoder.require(DESCRIPTOR_WIDTH, self._global.dimension)
        self._sift = sift_detector(spec.config["max_descriptors"])

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, _device: torch.device) -> RootSiftVlad:
        """Read codebook and whitening; the device is ignored, since the extractor runs on the CPU."""
        return cls(spec, VladEncoder.load(weights, spec.config["normalisation"]))

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor; an image without keypoints has neither tokens nor a global: both masks are False."""
        found = [detect_keypoints(self._sift, preprocess(image, self.spec.preprocessing)) for image in images]
        whole = np.stack([self._encoder.encode(keypoints.descriptors) for keypoints in found])
        features = {self._global.name: FeatureBatch.from_global(torch.from_numpy(whole))}
        if self._local is not None:
            features[self._local.name] = strongest_tokens(found, self._local.max_tokens)
        return features


def rootsift_vlad_spec(
    *,
    size: int,
    max_tokens: int | None,
    clusters: int,
    dimension: int | None,
    normalisation: VladNormalisation = "intra",
    max_descriptors: int = 1000,
    weights_source: str,
) -> ExtractorSpec:
    """Return the specification of RootSIFT with VLAD for photographs with a longest side of `size` pixels.

    Args:
        size: Longest side in pixels.
        max_tokens: Number of strongest keypoints in the local feature; None for no local feature.
        clusters: Number of centres of the codebook, k.
        dimension: Width of the VLAD after PCA whitening; None for no whitening, k * 128.
        normalisation: See `vlad`.
        max_descriptors: Number of strongest keypoints in the VLAD; more take time and add weak ones.
        weights_source: Origin of codebook and whitening.
    """
    width = clusters * DESCRIPTOR_WIDTH if dimension is None else dimension
    whole = FeatureSpec(name="rootsift_vlad", kind="global", dimension=width, max_tokens=1)
    tokens = [rootsift_feature(max_tokens)] if max_tokens is not None else []
    return ExtractorSpec(
        name=RootSiftVlad.FAMILY,
        family=RootSiftVlad.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(whole, *tokens),
        weights="extractors/rootsift_vlad.safetensors",
        weights_source=weights_source,
        config={"normalisation": normalisation, "max_descriptors": max_descriptors, "clusters": clusters},
    )
