"""An encoder in a separate process."""

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

_MAX_ANSWER_BYTES = 2**32  # the features of a whole batch


class EncoderProcess:
    """An ImageEncoder that runs in a separate process, so that the service's threads do not delay a GPU.

    One thread of a Python process runs at a time. An encoder on a GPU makes hundreds of short calls per batch, each of
    which would wait for the other threads of the service. Pixels are passed in shared memory. A process that crashes,
    for example with its CUDA context, or exceeds the timeout is replaced for the next batch.

    Args:
        load: Loads the encoder in the process: a function of a module, or a method of a class.
        bundle_directory: Directory of the bundle.
        manifest: Manifest of the bundle.
        device: Device of the encoder.
        slots: Largest number of prepared images in memory.
        timeout_s: Longest time per image, in seconds; a batch has this time for each of its images.

    Raises:
        AffError: `load` failed.
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
        self.buffer = SharedPixelBuffer(self.preprocessings, slots)
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # runs in the calling thread
        setup = EncoderSetup(
            load=name_of(load),
            bundle_directory=bundle_directory,
            manifest=manifest,
            device=device,
            buffer_file=self.buffer.file,
            buffer_slots=slots,
        )
        self._worker = _process(setup, timeout_s)
        try:
            self._loop.run(self._worker.start())
        except BaseException:
            self.close()
            raise

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> Sequence[EncodedImage]:
        """See ImageEncoder; the images are in the shared buffer."""
        references = tuple(image.reference for image in images if isinstance(image, SharedImage))
        answer, frame = self._call(EncodeRequest(images=references, with_features=with_features), (), len(images))
        embeddings = frame.array(0, "float32", answer.shape)
        features: Sequence[ImageFeatures | None] = [None] * len(images)
        if with_features:
            features = features_of(answer.features, frame, first_part=1)
        return [EncodedImage(*one) for one in zip(embeddings, answer.extractors, features, strict=True)]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """See ImageEncoder."""
        features, parts = features_sent(images)
        answer, frame = self._call(EncodeRequest(features=features), parts, len(images))
        embeddings: NDArray[np.float32] = frame.array(0, "float32", answer.shape)
        return embeddings

    def close(self) -> None:
        """Stop the process; a batch in it is abandoned."""
        self._closed = True
        self._worker.close()
        with self._one_at_a_time:
            self._loop.close()

    def _call(self, request: EncodeRequest, parts: Sequence[Part], images: int) -> tuple[EncodeAnswer, Frame]:
        """Send a request once for several images, which the caller splits, and twice for a single image."""
        attempt = self._worker.ask if images > 1 else self._worker.call
        with self._one_at_a_time:
            if self._closed:
                raise WorkerStartError("the encoder has been closed")
            call: Any = attempt(request, parts, EncodeAnswer, items=images)
            answer, frame = self._loop.run(call)
        if answer.too_large is not None:
            raise BatchTooLargeError(answer.too_large)
        return answer, frame


def _process(setup: EncoderSetup, timeout_s: float) -> WorkerProcess:
    return WorkerProcess(
        "runs the encoder",
        name_of(open_encoder),
        setup,
        timeout_s=timeout_s,
        files=[setup.buffer_file],
        max_answer_bytes=_MAX_ANSWER_BYTES,
    )
