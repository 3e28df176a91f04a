"""An encoder in a process of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.workers.frames import Frame, Part
from aff_shared.workers.serve import name_of
from aff_shared.workers.worker_life import WorkerStartError
from aff_shared.workers.worker_process import WorkerProcess
from gallery_indexer.features.image_encoder import (
    BatchTooLargeError,
    EncodedImage,
    EncoderInput,
    EncoderLoader,
    ImageFeatures,
)
from gallery_indexer.workers.encoder_worker import (
    EncodeAnswer,
    EncodeRequest,
    EncoderSetup,
    features_of,
    features_sent,
    open_encoder,
)
from gallery_indexer.workers.shared_pixel_buffer import SharedImage, SharedPixelBuffer

_MAX_ANSWER_BYTES = 2**32  # it may hold the features of a whole batch


class EncoderProcess:
    """Feeds a card from a process of its own, so that no other Python keeps it waiting.

    Python runs in one thread of a process at a time. An encoder on a card is hundreds of short calls per batch, and
    next to the threads of a service each of them waits for its turn. Pixels come through an arena. A process that dies,
    as one does with the card's context, or that hangs, is started anew for the next batch.

    Args:
        load: Loads the encoder there: a function of a module, or a method of a class.
        bundle_directory: Where the bundle lies.
        manifest: Its manifest.
        device: Of the encoder.
        slots: Prepared images that are alive at the same time.
        timeout_s: Longest time for an image, in seconds; a batch has so much for each of its images.

    Raises:
        AffError: What `load` raised.
    """

    def __init__(
        self,
        load: EncoderLoader,
        bundle_directory: Path,
        manifest: BundleManifest,
        *,
        device: str,
        slots: int,
        timeout_s: float,
    ) -> None:
        self.preprocessings = tuple(extractor.preprocessing for extractor in manifest.extractors)
        self.arena = SharedPixelBuffer(self.preprocessings, slots)
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # of the thread that asks
        setup = EncoderSetup(
            load=name_of(load),
            bundle_directory=bundle_directory,
            manifest=manifest,
            device=device,
            arena_file=self.arena.file,
            arena_slots=slots,
        )
        self._worker = _process(setup, timeout_s)
        try:
            self._loop.run(self._worker.start())
        except BaseException:
            self.close()
            raise

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> Sequence[EncodedImage]:
        """See ImageEncoder; the images lie in the arena."""
        references = tuple(image.reference for image in images if isinstance(image, SharedImage))
        answer, frame = self._ask(EncodeRequest(images=references, with_features=with_features), (), len(images))
        embeddings = frame.array(0, "float32", answer.shape)
        features: Sequence[ImageFeatures | None] = [None] * len(images)
        if with_features:
            features = features_of(answer.features, frame, first_part=1)
        return [EncodedImage(*one) for one in zip(embeddings, answer.extractors, features, strict=True)]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """See ImageEncoder."""
        features, parts = features_sent(images)
        answer, frame = self._ask(EncodeRequest(features=features), parts, len(images))
        embeddings: NDArray[np.float32] = frame.array(0, "float32", answer.shape)
        return embeddings

    def close(self) -> None:
        """End the process; a batch in it is given up."""
        self._closed = True
        self._worker.close()
        with self._one_at_a_time:
            self._loop.close()

    def _ask(self, request: EncodeRequest, parts: Sequence[Part], images: int) -> tuple[EncodeAnswer, Frame]:
        """Ask once for several images, of which the caller tries fewer, and twice for one: it may not be at fault."""
        attempt = self._worker.ask if images > 1 else self._worker.call
        with self._one_at_a_time:
            if self._closed:
                raise WorkerStartError("the encoder has been closed")
            asking: Any = attempt(request, parts, EncodeAnswer, items=images)
            answer, frame = self._loop.run(asking)
        if answer.too_large is not None:
            raise BatchTooLargeError(answer.too_large)
        return answer, frame


def _process(setup: EncoderSetup, timeout_s: float) -> WorkerProcess:
    return WorkerProcess(
        "runs the encoder",
        name_of(open_encoder),
        setup,
        timeout_s=timeout_s,
        files=[setup.arena_file],
        max_answer_bytes=_MAX_ANSWER_BYTES,
    )
