"""RootSIFT: a local extractor without weights (Lowe 2004; Arandjelovic and Zisserman, CVPR 2012)."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aff_contracts.bundle import ExtractorSpec, FeatureSpec
from aff_contracts.preprocessing import Preprocessing, preprocess
from gallery_indexer.extractors.extractor import FeatureBatch, Images

_DESCRIPTOR_WIDTH = 128
_WIDTH = _DESCRIPTOR_WIDTH + 2


class RootSift:
    """The strongest SIFT keypoints of an image, RootSIFT-normalised, with their positions appended.

    A token is 130 wide: the Hellinger-mapped descriptor (unit length), then x and y from -1 to 1.
    """

    FAMILY: ClassVar[str] = "rootsift"

    def __init__(self, spec: ExtractorSpec) -> None:
        self.spec = spec
        self._feature = spec.features[0]
        self._sift = cv2.SIFT_create(nfeatures=self._feature.max_tokens)  # type: ignore[attr-defined]

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor; an image without keypoints has an all-False mask."""
        values = np.zeros((len(images), self._feature.max_tokens, _WIDTH), dtype=np.float32)
        mask = np.zeros(values.shape[:2], dtype=bool)
        positions = np.zeros((*values.shape[:2], 2), dtype=np.float32)
        for row, image in enumerate(images):
            tokens = self._tokens(preprocess(image, self.spec.preprocessing))
            values[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = True
            positions[row, : len(tokens)] = (tokens[:, _DESCRIPTOR_WIDTH:] + 1.0) / 2.0
        batch = FeatureBatch(torch.from_numpy(values), torch.from_numpy(mask), torch.from_numpy(positions))
        return {self._feature.name: batch}

    def _tokens(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        keypoints, descriptors = self._sift.detectAndCompute(grey, None)
        if descriptors is None:
            return np.zeros((0, _WIDTH), dtype=np.float32)
        order = np.argsort([-keypoint.response for keypoint in keypoints], kind="stable")
        order = order[: self._feature.max_tokens]
        height, width = grey.shape
        points = np.array([keypoints[i].pt for i in order], dtype=np.float32)
        positions = 2.0 * points / np.array([width, height], dtype=np.float32) - 1.0
        return np.hstack([rootsift(descriptors[order]), positions])


def rootsift(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map SIFT descriptors (n, 128) to RootSIFT: L1-normalise, take square roots; rows have unit length."""
    shares: NDArray[np.float32] = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    return np.sqrt(shares)


def rootsift_spec(*, size: int, max_tokens: int) -> ExtractorSpec:
    """Describe a RootSIFT extractor on photographs reduced to a longest side of `size` pixels."""
    return ExtractorSpec(
        name=RootSift.FAMILY,
        family=RootSift.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(FeatureSpec(name="rootsift", kind="local", dimension=_WIDTH, max_tokens=max_tokens),),
        weights_source="none: computed by OpenCV",
    )
