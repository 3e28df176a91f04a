"""Frames: the messages between a service and its worker processes.

A frame is a JSON object, which a model validates, and parts of raw bytes. Nothing in it can be executed. Data of a
process that decodes photographs are trusted no more than the photographs.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from aff_shared.errors import AffError, EncoderError, WorkerError

_PREFIX = struct.Struct(
    "<?II"
)  # whether it is a failure, bytes of the JSON object, number of parts; their sizes follow
_SIZE = struct.Struct("<Q")

Part = bytes | NDArray[Any]
Shape = tuple[NonNegativeInt, ...]
FrameReading = Generator[int, bytes, "Frame"]


class Message(BaseModel):
    """The JSON object of a frame; each call has a subclass for its request and one for its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnyMessage = TypeVar("AnyMessage", bound=Message)


class Failure(Message):
    """An AffError of the tree.

    Attributes:
        code: Code of the error's class.
        detail: Cause of the error.
        item: Name of the cause.
    """

    code: str
    detail: str
    item: str | None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was received.

    Attributes:
        failed: Whether the message is a Failure.
        message: JSON, not validated yet.
        parts: Raw bytes.
    """

    failed: bool
    message: bytes
    parts: tuple[bytes, ...]

    def read(self, kind: type[AnyMessage]) -> AnyMessage:
        """Return the message.

        Raises:
            WorkerError: The message has another form.
            AffError: It is a failure.
        """
        try:
            if self.failed:
                raise _error_of(Failure.model_validate_json(self.message))
            return kind.model_validate_json(self.message)
        except ValidationError as error:
            raise WorkerError(f"the frame does not contain a {kind.__name__}") from error

    def array(self, part: int, dtype: Literal["float16", "float32"], shape: Shape) -> NDArray[Any]:
        """Return a part as an array of that shape, without copying; it cannot be written to.

        Raises:
            WorkerError: There is no such part, or it has another size.
        """
        try:
            return np.frombuffer(self.parts[part], dtype).reshape(shape)
        except (ValueError, IndexError) as error:
            raise WorkerError(f"part {part} of the frame is not a {dtype} array of shape {shape}") from error


def encode_frame(message: Message, parts: Sequence[Part] = ()) -> list[bytes | memoryview]:
    """Return a frame as pieces that are to be sent one after the other; arrays are not copied."""
    text = message.model_dump_json().encode()
    pieces = [part if isinstance(part, bytes) else _bytes_of(part) for part in parts]
    sizes = (_SIZE.pack(len(piece)) for piece in pieces)
    return [b"".join([_PREFIX.pack(isinstance(message, Failure), len(text), len(pieces)), *sizes, text]), *pieces]


def reading_frame(max_bytes: int) -> FrameReading:
    """Yield the number of bytes to send next, receive them, and return the complete frame.

    Raises:
        WorkerError: It is larger than `max_bytes`; raised before more than its sizes were taken.
    """
    failed, text, count = _PREFIX.unpack((yield _PREFIX.size))
    _require_within(_PREFIX.size + text + count * _SIZE.size, max_bytes)
    sizes = [size for (size,) in _SIZE.iter_unpack((yield count * _SIZE.size))]
    _require_within(_PREFIX.size + text + count * _SIZE.size + sum(sizes), max_bytes)
    message = yield text
    parts: list[bytes] = []
    while len(parts) < count:
        parts.append((yield sizes[len(parts)]))
    return Frame(failed, message, tuple(parts))


def _require_within(size: int, max_bytes: int) -> None:
    """Raise WorkerError where a frame is larger than it may be."""
    if size > max_bytes:
        raise WorkerError(f"a frame of {size} bytes is over the limit of {max_bytes}")


def receive_frame(file: BinaryIO, max_bytes: int) -> Frame | None:
    """Wait for a frame; None if the other side has closed its end.

    Raises:
        WorkerError: It is too large.
    """
    reading = reading_frame(max_bytes)
    wanted = next(reading)
    while True:
        taken = file.read(wanted)
        if len(taken) < wanted:
            return None
        try:
            wanted = reading.send(taken)
        except StopIteration as whole:
            frame: Frame = whole.value
            return frame


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _error_of(failure: Failure) -> AffError:
    """Return the error of a failure; an unknown code results in an EncoderError."""
    known: list[type[AffError]] = [AffError]
    for one in known:
        if one.code == failure.code and one.__init__ is AffError.__init__:  # others require more than a detail
            return one(failure.detail, item=failure.item)
        known += one.__subclasses__()
    return EncoderError(failure.detail, item=failure.item)
