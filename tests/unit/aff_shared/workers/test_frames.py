from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest

from aff_shared.errors import BundleNotFoundError, EncoderError, ImageError, WorkerError
from aff_shared.workers.frames import Failure, Frame, Message, encode_frame, receive_frame

LIMIT = 10_000


class Measured(Message):
    name: str
    seconds: float


MEASURED = Measured(name="Zürich", seconds=0.5)


def _sent(message: Message, *parts: bytes | np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    return b"".join(encode_frame(message, parts))


def _received(data: bytes, limit: int = LIMIT) -> Frame | None:
    return receive_frame(io.BytesIO(data), limit)


def test_a_frame_is_read_as_it_was_sent() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    frame = _received(_sent(MEASURED, b"", b"bytes", array.T))
    assert frame is not None
    assert frame.read(Measured) == MEASURED
    assert frame.parts[:2] == (b"", b"bytes")
    np.testing.assert_array_equal(frame.array(2, "float32", (3, 2)), [[0, 3], [1, 4], [2, 5]])


def test_an_empty_array_is_sent_as_such() -> None:
    frame = _received(_sent(MEASURED, np.empty((0, 3), np.float32)))
    assert frame is not None
    assert frame.array(0, "float32", (0, 3)).shape == (0, 3)


def test_an_end_in_the_midst_of_a_frame_is_an_end() -> None:
    whole = _sent(MEASURED, b"bytes")
    assert all(_received(whole[:end]) is None for end in range(len(whole)))


@pytest.mark.parametrize(
    "prefix",
    [
        struct.pack("<?II", False, LIMIT, 0),
        struct.pack("<?II", False, 10, 2**32 - 1),
        struct.pack("<?IIQ", False, 10, 1, 2**63),
        struct.pack("<?IIQQ", False, 10, 2, 5000, 5000),
    ],
)
def test_an_oversized_frame_is_rejected_before_it_is_read(prefix: bytes) -> None:
    with pytest.raises(WorkerError, match="over the limit"):
        _received(prefix)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"name": "a"}',
        b'{"name": "a", "seconds": "x"}',
        b'{"name": "a", "seconds": NaN}',
        b'{"name": "a", "seconds": 1, "more": 1}',
        pickle.dumps({"name": "a", "seconds": 1.0}),
    ],
)
def test_a_message_of_another_form_is_rejected(message: bytes) -> None:
    with pytest.raises(WorkerError, match="not contain a Measured"):
        Frame(False, message, ()).read(Measured)
    with pytest.raises(WorkerError, match="not contain a Measured"):
        Frame(True, message, ()).read(Measured)


def test_a_part_of_another_size_than_its_array_is_rejected() -> None:
    frame = Frame(False, b"{}", (bytes(24),))
    for part, shape in ((0, (2, 2)), (0, (7,)), (1, (2, 3))):
        with pytest.raises(WorkerError, match="not a float32 array"):
            frame.array(part, "float32", shape)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("image_invalid", ImageError),
        ("bundle_not_found", BundleNotFoundError),
        ("unheard of", EncoderError),
        ("rate_limited", EncoderError),  # requires more than a detail
    ],
)
def test_an_error_is_restored_by_its_code(code: str, kind: type[Exception]) -> None:
    frame = _received(_sent(Failure(code=code, detail="what happened", item="a.jpg")))
    assert frame is not None
    with pytest.raises(kind) as caught:
        frame.read(Measured)
    assert type(caught.value) is kind
    assert str(caught.value) == "a.jpg: what happened"
