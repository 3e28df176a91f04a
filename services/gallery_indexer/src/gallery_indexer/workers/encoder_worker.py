"""What runs in the encoder's process, and what the service and that process send to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.workers.frames import Frame, Message, Part
from aff_shared.workers.serve import Handler, object_named
from gallery_indexer.features.image_encoder import (
    BatchTooLargeError,
    EncoderLoader,
    ImageEncoder,
    ImageFeatures,
    Tokens,
)
from gallery_indexer.workers.shared_pixel_buffer import PixelReference, SharedPixelBuffer


class EncoderSetup(Message):
    """What the process starts with.

    Attributes:
        load: Name of what loads the encoder.
        bundle_directory: Where the bundle lies.
        manifest: Its manifest.
        device: Of the encoder.
        arena_file: Descriptor of the arena.
        arena_slots: Slots of the arena.
    """

    load: str
    bundle_directory: Path
    manifest: BundleManifest
    device: str
    arena_file: int
    arena_slots: int


class SentTokens(Message):
    """Tokens of one feature: a part of values and, for a local feature, one of positions, both float16.

    Attributes:
        name: Of the feature.
        shape: Of the values.
        local: Whether there are positions.
    """

    name: str
    shape: tuple[NonNegativeInt, NonNegativeInt]
    local: bool


SentFeatures = tuple[tuple[SentTokens, ...], ...]


class EncodeRequest(Message):
    """Asks for embeddings, of images or of what extractors found in them.

    Attributes:
        images: Where they lie in the arena.
        with_features: Whether what the extractors found is wanted, too.
        features: Without images: of each, what the parts hold.
    """

    images: tuple[PixelReference, ...] = ()
    with_features: bool = False
    features: SentFeatures = ()


class EncodeAnswer(Message):
    """Goes with the embeddings, float32, and the tokens.

    Attributes:
        shape: Of the embeddings.
        extractors: Of each image, those that found something in it.
        features: Of each image, where they were asked for.
        too_large: Why the batch does not fit on the device; None where it does.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    extractors: tuple[tuple[str, ...], ...] = ()
    features: SentFeatures = ()
    too_large: str | None = None


def features_sent(images: Sequence[ImageFeatures]) -> tuple[SentFeatures, list[Part]]:
    """Return what stands for the features of images in a message, and the parts."""
    parts: list[Part] = []
    for image in images:
        for tokens in image.values():
            parts.append(tokens.values.astype(np.float16, copy=False))
            if tokens.positions is not None:
                parts.append(tokens.positions.astype(np.float16, copy=False))
    sent = tuple(
        tuple(
            SentTokens(name=name, shape=(len(one.values), one.values.shape[1]), local=one.positions is not None)
            for name, one in image.items()
        )
        for image in images
    )
    return sent, parts


def features_of(sent: SentFeatures, frame: Frame, first_part: int) -> list[ImageFeatures]:
    """Put the features of images together again.

    Raises:
        WorkerError: Message and parts do not fit.
    """
    images: list[ImageFeatures] = []
    for image in sent:
        features: dict[str, Tokens] = {}
        for one in image:
            values = frame.array(first_part, "float16", one.shape)
            positions = frame.array(first_part + 1, "float16", (one.shape[0], 2)) if one.local else None
            features[one.name] = Tokens(values, positions)
            first_part += 1 + one.local
        images.append(features)
    return images


def open_encoder(frame: Frame) -> Handler:
    """Load the encoder, and return what answers requests with it."""
    setup = frame.read(EncoderSetup)
    load: EncoderLoader = object_named(setup.load)
    encoder = load(setup.bundle_directory, setup.manifest, device=setup.device)
    preprocessings = [extractor.preprocessing for extractor in setup.manifest.extractors]
    arena = SharedPixelBuffer(preprocessings, setup.arena_slots, setup.arena_file)

    def encode(frame: Frame) -> tuple[EncodeAnswer, list[Part]]:
        request = frame.read(EncodeRequest)
        try:
            return _fused(encoder, request, frame) if request.features else _encoded(encoder, request, arena)
        except BatchTooLargeError as error:
            return EncodeAnswer(too_large=str(error)), []

    return encode


def _encoded(
    encoder: ImageEncoder, request: EncodeRequest, arena: SharedPixelBuffer
) -> tuple[EncodeAnswer, list[Part]]:
    images = [arena.image(one) for one in request.images]
    encoded = encoder.encode_images(images, with_features=request.with_features)
    embeddings = np.stack([one.embedding for one in encoded])
    features, parts = features_sent([one.features for one in encoded if one.features is not None])
    rows, dimension = embeddings.shape
    extractors = tuple(one.extractors for one in encoded)
    return EncodeAnswer(shape=(rows, dimension), extractors=extractors, features=features), [embeddings, *parts]


def _fused(encoder: ImageEncoder, request: EncodeRequest, frame: Frame) -> tuple[EncodeAnswer, list[Part]]:
    embeddings = encoder.fuse(features_of(request.features, frame, first_part=0))
    rows, dimension = embeddings.shape
    return EncodeAnswer(shape=(rows, dimension)), [embeddings]
