"""An encoder in a process of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_contracts.errors import EncoderError
from aff_contracts.preprocessing import Preprocessing
from gallery_indexer.child_process import end_with_parent, process_context
from gallery_indexer.image_encoder import EncodedImage, FeatureFuser, ImageEncoder, PreparedImage
from gallery_indexer.pixel_arena import PixelArena, PixelReference, SharedImage
from gallery_indexer.tokens import ImageFeatures

_END_S = 10.0

_logger = logging.getLogger(__name__)


class EncoderProcess:
    """Feeds a card from a process of its own, so that no other Python keeps it waiting.

    Python runs in one thread of a process at a time. An encoder on a card is hundreds of short calls per batch, and
    next to the threads of a service each of them waits for its turn. Pixels come through an arena. A process that dies,
    as one does with the card's context, is started anew for the next batch.

    Args:
        load: Loads the encoder there; can be sent to another process.
        preprocessings: Of its extractors.
        slots: Prepared images that are alive at the same time.

    Raises:
        AffError: What `load` raised.
    """

    def __init__(self, load: Callable[[], ImageEncoder], preprocessings: Sequence[Preprocessing], slots: int) -> None:
        self.preprocessings = tuple(preprocessings)
        self.arena = PixelArena(self.preprocessings, slots)
        self._load = load
        self._one_at_a_time = threading.Lock()
        self._process, self._connection = self._start()

    def encode_images(self, images: Sequence[PreparedImage], *, with_features: bool = False) -> Sequence[EncodedImage]:
        """See ImageEncoder; the images lie in the arena."""
        references = [image.reference for image in images if isinstance(image, SharedImage)]
        encoded: Sequence[EncodedImage] = self._call("encode_images", references, with_features)
        return encoded

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """See FeatureFuser."""
        embeddings: NDArray[np.float32] = self._call("fuse", images)
        return embeddings

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(_END_S)
        self._process.kill()

    def _call(self, name: str, *arguments: Any) -> Any:
        with self._one_at_a_time:
            if not self._process.is_alive():
                _logger.warning("the encoder's process died; another takes its place")
                self._process, self._connection = self._start()
            try:
                self._connection.send((name, arguments))
                answer = self._connection.recv()
            except (EOFError, OSError) as error:
                self._process.join(_END_S)
                raise EncoderError("the encoder's process died") from error
        return _result(answer)

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = process_context()
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, self._load, self.arena), daemon=True)
        process.start()
        there.close()
        try:
            answer = here.recv()
        except EOFError as error:
            raise EncoderError("the encoder's process died while it loaded the encoder") from error
        _result(answer)
        return process, here


def _result(answer: tuple[bool, Any]) -> Any:
    succeeded, result = answer
    if not succeeded:
        raise result
    return result


def _serve(connection: Connection, load: Callable[[], ImageEncoder], arena: PixelArena) -> None:
    end_with_parent()
    encoder: ImageEncoder | None = None
    try:
        encoder = load()
    except Exception as error:  # noqa: BLE001 - told to the parent
        _tell(connection, error)
        return
    connection.send((True, None))
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, _done(encoder, arena, name, arguments)))
        except Exception as error:  # noqa: BLE001 - told to the parent
            _tell(connection, error)


def _done(encoder: ImageEncoder, arena: PixelArena, name: str, arguments: Any) -> Any:
    if name == "fuse":
        assert isinstance(encoder, FeatureFuser), "a gallery encoder fuses"
        return encoder.fuse(*arguments)
    references: Sequence[PixelReference]
    references, with_features = arguments
    return encoder.encode_images([arena.image(one) for one in references], with_features=with_features)


def _tell(connection: Connection, error: Exception) -> None:
    """Send an error, as text where it cannot be sent as it is."""
    try:
        connection.send((False, error))
    except Exception:  # noqa: BLE001 - whatever makes it impossible
        connection.send((False, RuntimeError(f"{type(error).__name__}: {error}")))
