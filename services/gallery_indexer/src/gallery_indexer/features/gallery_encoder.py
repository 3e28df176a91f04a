"""The gallery encoder of a bundle: extractors, then the dynamic mixer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from aff_shared.bundles.bundle import BundleManifest, FeatureSpec
from aff_shared.errors import BundleFormatError, BundleNotFoundError
from gallery_indexer.features.extractors.extractor import Extractor, FeatureBatch, Images
from gallery_indexer.features.extractors.landmark_extractor import LandmarkExtractor
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.image_encoder import BatchTooLargeError, EncodedImage, EncoderInput, ImageFeatures, Tokens
from gallery_indexer.features.mixers.build_mixer import build_mixer
from gallery_indexer.features.networks.layers import device_named, limit_threads


class GalleryEncoder:
    """An ImageEncoder in this process."""

    def __init__(self, extractors: Sequence[Extractor], mixer: nn.Module, device: torch.device) -> None:
        self._extractors = tuple(extractors)
        self._mixer = mixer.eval().to(device)
        self.device = device
        self._features = tuple(feature for extractor in extractors for feature in extractor.spec.features)
        self.preprocessings = tuple(extractor.spec.preprocessing for extractor in extractors)

    @classmethod
    def load(cls, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> GalleryEncoder:
        """Load the gallery side of a bundle whose files have been verified.

        Args:
            bundle_directory: Directory of the bundle.
            manifest: Manifest of the bundle.
            device: `cpu`, `cuda`, or `auto` for CUDA if there is a GPU.

        Raises:
            BundleNotFoundError: Weights are missing.
            BundleFormatError: Weights and specifications do not match each other or this release.
            MissingExtraError: An extractor needs a package that is not installed.
        """
        limit_threads()
        target = device_named(device)
        extractors = [load_extractor(spec, bundle_directory, target) for spec in manifest.extractors]
        try:
            mixer = build_mixer(manifest.features, manifest.mixer, manifest.space.dimension)
            load_model(mixer, bundle_directory / manifest.mixer.weights)
        except OSError as error:
            raise BundleNotFoundError(f"cannot be read: {error}", item=manifest.mixer.weights) from error
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise BundleFormatError(f"mixer weights do not match: {error}", item=manifest.mixer.weights) from error
        return cls(extractors, mixer, target)

    @classmethod
    def load_with_onnx_runtime(cls, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> GalleryEncoder:
        """Load as `load` does, for an indexer: on a CPU, extractors run in ONNX Runtime where that is faster."""
        encoder = cls.load(bundle_directory, manifest, device=device)
        for extractor in encoder._extractors:
            if isinstance(extractor, LandmarkExtractor):
                extractor.use_onnx_runtime()
        return encoder

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """Run every extractor on a batch of (H, W, 3) uint8 images; features by name."""
        features: dict[str, FeatureBatch] = {}
        for extractor in self._extractors:
            features.update(extractor.extract(images))
        return features

    def encode(self, images: Images) -> NDArray[np.float32]:
        """Embed a batch of (H, W, 3) uint8 upright RGB images: (B, D) float32, unit length."""
        return self.mix(self.extract(images))

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        """See ImageEncoder. Preprocessing does not change prepared pixels, so the result equals that of `encode`."""
        try:
            features: dict[str, FeatureBatch] = {}
            for place, extractor in enumerate(self._extractors):
                features.update(extractor.extract([image[place] for image in images]))
            embeddings = self.mix(features)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise BatchTooLargeError(str(error)) from error
        found = {one.spec.name: _found_something(one.spec.features, features) for one in self._extractors}
        apart = images_of(features, self._features) if with_features else [None] * len(images)
        return [
            EncodedImage(embedding, tuple(name for name, rows in found.items() if rows[row]), apart[row])
            for row, embedding in enumerate(embeddings)
        ]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """See ImageEncoder."""
        return self.mix(batch_of(images, self._features))

    @torch.inference_mode()
    def mix(self, features: Mapping[str, FeatureBatch]) -> NDArray[np.float32]:
        """Fuse the features of B images, as `extract` returns them: (B, D) float32, unit length."""
        on_device = {name: batch.to(self.device) for name, batch in features.items()}
        embeddings: NDArray[np.float32] = self._mixer(on_device).cpu().numpy()
        return embeddings


def _found_something(specs: Sequence[FeatureSpec], features: Mapping[str, FeatureBatch]) -> NDArray[np.bool_]:
    """Return for each of B images whether one of these features has a token: (B,) bool."""
    present = [features[spec.name].mask.any(dim=1).cpu().numpy() for spec in specs]
    rows: NDArray[np.bool_] = np.any(present, axis=0)
    return rows


def images_of(batch: Mapping[str, FeatureBatch], specs: Sequence[FeatureSpec]) -> list[dict[str, Tokens]]:
    """Split a batch into images; values beyond float16 become infinite."""
    images: list[dict[str, Tokens]] = []
    for spec in specs:
        feature = batch[spec.name]
        with np.errstate(over="ignore"):
            values = feature.values.cpu().numpy().astype(np.float16)
        mask = feature.mask.cpu().numpy()
        positions = None if feature.positions is None else feature.positions.cpu().numpy().astype(np.float16)
        images = images or [{} for _ in range(len(values))]
        for row, image in enumerate(images):
            kept = mask[row]
            image[spec.name] = Tokens(values[row][kept], None if positions is None else positions[row][kept])
    return images


def batch_of(images: Sequence[ImageFeatures], specs: Sequence[FeatureSpec]) -> dict[str, FeatureBatch]:
    """Combine images into a batch of float32; local features are padded to the longest of the batch."""
    return {spec.name: _feature_of([image[spec.name] for image in images], spec) for spec in specs}


def _feature_of(tokens: Sequence[Tokens], spec: FeatureSpec) -> FeatureBatch:
    longest = max(1, *(len(one.values) for one in tokens))
    values = np.zeros((len(tokens), longest, spec.dimension), dtype=np.float32)
    positions = np.zeros((len(tokens), longest, 2), dtype=np.float32)
    mask = np.zeros((len(tokens), longest), dtype=np.bool_)
    for row, one in enumerate(tokens):
        count = len(one.values)
        values[row, :count], mask[row, :count] = one.values, True
        if one.positions is not None:
            positions[row, :count] = one.positions
    placed = None if spec.kind == "global" else torch.from_numpy(positions)
    return FeatureBatch(torch.from_numpy(values), torch.from_numpy(mask), placed)
