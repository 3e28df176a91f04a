"""Baselines that need no training: a colour histogram, and RootSIFT with VLAD."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from aff_shared.errors import AffError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import RankingsNotWrittenError
from aff_toolkit.models.fit_vlad import fit_codebook
from gallery_indexer.features.extractors.rootsift import DESCRIPTOR_WIDTH, detect_keypoints, sift_detector
from gallery_indexer.features.extractors.vlad import VladEncoder

ROOTSIFT_VLAD_SIZE = 320
# Photographs that the codebook is fitted on, at most.
FITTED_ON = 500

_CLUSTERS = 64
_DESCRIPTORS_EACH = 100
_MAX_KEYPOINTS = 1000
_SEED = 0
_PREPROCESSING = Preprocessing(resize="longest_side", size=ROOTSIFT_VLAD_SIZE)

Descriptors = NDArray[np.float32]
COLOUR_HISTOGRAM_SIZE = 256
_BINS = 8
_COLOUR_PREPROCESSING = Preprocessing(resize="longest_side", size=COLOUR_HISTOGRAM_SIZE)
# OpenCV's hue of 8-bit pixels counts steps of two degrees.
_RANGES = [0, 180, 0, 256, 0, 256]


@dataclass(frozen=True, slots=True)
class RootSiftVladBaseline:
    """RootSIFT (Arandjelovic and Zisserman, CVPR 2012) and VLAD with intra-normalisation (the same, CVPR 2013).

    Photographs are reduced to a longest side of 320 pixels, and their 1,000 strongest keypoints are aggregated over 64
    centres. A photograph without keypoints has a zero vector.

    Attributes:
        encoder: With its codebook.
    """

    encoder: VladEncoder

    @classmethod
    def fit(cls, gallery: Sequence[Photograph], on_progress: Callable[[int], None]) -> RootSiftVladBaseline:
        """Fit the codebook on descriptors of a sample of the gallery, without labels; deterministic.

        Args:
            gallery: 500 photographs are drawn, and 100 keypoints of each; those that cannot be read are left out.
            on_progress: Called with the number of photographs done since the last call.
        """
        random = np.random.default_rng(_SEED)
        sample = [gallery[row] for row in random.permutation(len(gallery))[:FITTED_ON]]
        found = _descriptors(sample, on_progress)
        some = [random.permutation(one)[:_DESCRIPTORS_EACH] for one in found]
        descriptors = np.concatenate([np.zeros((0, DESCRIPTOR_WIDTH), np.float32), *some])
        codebook = np.zeros((_CLUSTERS, DESCRIPTOR_WIDTH), np.float32)
        clusters = min(_CLUSTERS, len(descriptors))
        if clusters:
            codebook[:clusters] = fit_codebook(descriptors, clusters, random)
            # A repeated centre is the nearest one of no descriptor, and leaves the dimension as it is.
            codebook[clusters:] = codebook[0]
        return cls(VladEncoder(codebook, "intra"))

    @classmethod
    def read(cls, path: Path) -> RootSiftVladBaseline | None:
        """Return what `write` wrote; None where it is not there, or something else."""
        try:
            return cls(VladEncoder.load(path, "intra"))
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """Write the codebook whole, or not at all.

        Raises:
            RankingsNotWrittenError: The disk is full or not writable.
        """
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.encoder.save(partial)
            partial.rename(path)
        except (OSError, SafetensorError) as error:
            raise RankingsNotWrittenError(str(error), item=str(path)) from error

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return (B, 8192) float32 of B photographs (H, W, 3) uint8 RGB: unit length, or zero."""
        sift = sift_detector(_MAX_KEYPOINTS)
        found = (detect_keypoints(sift, preprocess(image, _PREPROCESSING)).descriptors for image in images)
        return np.stack([self.encoder.encode(descriptors) for descriptors in found])


def _descriptors(photographs: Sequence[Photograph], on_progress: Callable[[int], None]) -> Iterator[Descriptors]:
    """Yield the descriptors (n, 128) of each photograph that can be read."""
    sift = sift_detector(_MAX_KEYPOINTS)
    for photograph in photographs:
        try:
            yield detect_keypoints(sift, preprocess(photograph.load(), _PREPROCESSING)).descriptors
        except AffError:
            continue
        finally:
            on_progress(1)


def colour_histograms(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the histograms of B photographs, reduced to a longest side of 256 pixels.

    The components are square roots of the shares of pixels in 8 x 8 x 8 boxes of hue, saturation and value, so that a
    cosine is the Bhattacharyya coefficient of two histograms.

    Args:
        images: B photographs (H, W, 3) uint8 RGB.

    Returns:
        (B, 512) float32, unit length.
    """
    return np.stack([_histogram(preprocess(image, _COLOUR_PREPROCESSING)) for image in images])


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [_BINS] * 3, _RANGES).ravel()
    return np.asarray(np.sqrt(counts / counts.sum()), np.float32)
