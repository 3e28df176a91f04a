"""The code of the encoder's process, and the messages between it and the service."""

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
    """First message to the process.

    Attributes:
        load: Name of the function that loads the encoder.
        bundle_directory: Directory of the bundle.
        manifest: Manifest of the bundle.
        device: Device of the encoder.
        buffer_file: File descriptor of the shared buffer.
        buffer_slots: Number of its slots.
    """

    load: str
    bundle_directory: Path
    manifest: BundleManifest
    device: str
    buffer_file: int
    buffer_slots: int


class SentTokens(Message):
    """Tokens of one feature: a part with the values and, for a local feature, one with positions, both float16.

    Attributes:
        name: Name of the feature.
        shape: Shape of the values.
        local: Whether there are positions.
    """

    name: str
    shape: tuple[NonNegativeInt, NonNegativeInt]
    local: bool


SentFeatures = tuple[tuple[SentTokens, ...], ...]


class EncodeRequest(Message):
    """Request to embed images, or to fuse features of images.

    Attributes:
        images: References to images in the shared buffer.
        with_features: Whether to return the extractors' features, too.
        features: The features to fuse, if there are no images; their values are the parts.
    """

    images: tuple[PixelReference, ...] = ()
    with_features: bool = False
    features: SentFeatures = ()


class EncodeAnswer(Message):
    """Answer; its parts are the embeddings, float32, and the tokens.

    Attributes:
        shape: Shape of the embeddings.
        extractors: Per image, the extractors that found something in it.
        features: Features per image, if requested.
        too_large: Error message of a batch that does not fit into the device's memory, else None.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    extractors: tuple[tuple[str, ...], ...] = ()
    features: SentFeatures = ()
    too_large: str | None = None


def features_sent(images: Sequence[ImageFeatures]) -> tuple[SentFeatures, list[Part]]:
    """Return the message of the features of images, and its parts."""
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
    """Return the features of images from a message and its parts.

    Raises:
        WorkerError: Message and parts do not match.
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
    """Load the encoder, and return the handler of requests."""
    setup = frame.read(EncoderSetup)
    load: EncoderLoader = object_named(setup.load)
    encoder = load(setup.bundle_directory, setup.manifest, device=setup.device)
    preprocessings = [extractor.preprocessing for extractor in setup.manifest.extractors]
    buffer = SharedPixelBuffer(preprocessings, setup.buffer_slots, setup.buffer_file)

    def encode(frame: Frame) -> tuple[EncodeAnswer, list[Part]]:
        request = frame.read(EncodeRequest)
        try:
            return _fused(encoder, request, frame) if request.features else _encoded(encoder, request, buffer)
        except BatchTooLargeError as error:
            return EncodeAnswer(too_large=str(error)), []

    return encode


def _encoded(
    encoder: ImageEncoder, request: EncodeRequest, buffer: SharedPixelBuffer
) -> tuple[EncodeAnswer, list[Part]]:
    images = [buffer.image(one) for one in request.images]
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
