"""The size of the frames in AV1 data, read from its headers without a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_SEQUENCE_HEADER, _FRAME_HEADERS = 1, frozenset({3, 6, 7})  # types of OBUs: open bitstream units
_MOST_UNITS = 256  # of a picture; ordinary ones have fewer than ten
_MOST_HEADER_BYTES = 512
_KEY_FRAME, _SWITCH_FRAME = 0, 3
_CHOSEN_BY_FRAME = 2
_LAST_BYTE_BELOW = 0x80  # of a number in LEB128
_LEVEL_WITH_TIER, _MOST_LEADING_ZEROS = 8, 32


class _Sequence(NamedTuple):
    reduced: bool
    size: tuple[int, int]
    size_of_other_frames: tuple[int, int]
    time_bits: int
    frame_id_bits: int
    screen_content: int
    integer_motion: int


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int = 1) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header of AV1 data ends too early")
        return self._value >> self._left & ((1 << count) - 1)


def coded_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Return the width and height that each header of AV1 data allows its frames.

    Args:
        data: The open bitstream units of a picture.

    Raises:
        ValueError: It is damaged, or consists of too many units.
    """
    sequence: _Sequence | None = None
    for kind, body in _units(data):
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(_Bits(body))
            yield sequence.size
        elif kind in _FRAME_HEADERS and sequence is not None and _has_other_size(_Bits(body), sequence):
            yield sequence.size_of_other_frames


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    for _ in range(_MOST_UNITS):
        if place >= len(data):
            return
        header = data[place]
        place += 2 if header & 4 else 1
        size = len(data) - place
        if header & 2:
            size, place = _variable_length(data, place)
        yield header >> 3 & 15, data[place : place + min(size, _MOST_HEADER_BYTES)]
        place += size
    raise ValueError("AV1 data of too many units")


def _variable_length(data: bytes, place: int) -> tuple[int, int]:
    """Return a number in LEB128, and where it ends."""
    number = 0
    for index, byte in enumerate(data[place : place + 8]):
        number |= (byte & 0x7F) << 7 * index
        if byte < _LAST_BYTE_BELOW:
            return number, place + index + 1
    raise ValueError("the size of a unit of AV1 data is damaged")


def _sequence(bits: _Bits) -> _Sequence:
    """Read a sequence header (AV1 specification, 5.5.1) up to what the size of frames depends on."""
    bits.take(4)  # profile, still picture
    reduced, time_bits = bool(bits.take()), 0
    if reduced:
        bits.take(5)
    else:
        time_bits = _operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    frame_id_bits = 0
    if not reduced and bits.take():
        frame_id_bits = bits.take(4) + bits.take(3) + 3
    bits.take(3)
    screen_content = integer_motion = _CHOSEN_BY_FRAME
    if not reduced:
        bits.take(4)
        if bits.take():  # order hints
            bits.take(2)
        screen_content = _CHOSEN_BY_FRAME if bits.take() else bits.take()
        if screen_content:
            integer_motion = _CHOSEN_BY_FRAME if bits.take() else bits.take()
    other = 1 << width_bits, 1 << height_bits
    return _Sequence(reduced, size, other, time_bits, frame_id_bits, screen_content, integer_motion)


def _operating_points(bits: _Bits) -> int:
    """Skip timing and operating points; return how many bits the time in a frame header takes."""
    delay_bits = time_bits = 0
    if bits.take():  # timing
        bits.take(64)
        equal_intervals = bits.take()
        if equal_intervals:
            _skip_uvlc(bits)
        if bits.take():  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(37)
            time_bits = (bits.take(5) + 1) * (not equal_intervals)
    has_display_delay = bits.take()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) >= _LEVEL_WITH_TIER:
            bits.take()
        if delay_bits and bits.take():
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take():
            bits.take(4)
    return time_bits


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.take():
        zeros += 1
    if zeros < _MOST_LEADING_ZEROS:
        bits.take(zeros)


def _has_other_size(bits: _Bits, sequence: _Sequence) -> bool:
    """Return whether a frame header (5.9.2) states another size, which decoders limit only by its bits."""
    if sequence.reduced or bits.take():  # or it shows an earlier frame
        return False
    kind, shown = bits.take(2), bits.take()
    bits.take(sequence.time_bits if shown else 1)
    if kind != _SWITCH_FRAME and not (kind == _KEY_FRAME and shown):
        bits.take()  # error resilience
    bits.take()
    screen_content = bits.take() if sequence.screen_content == _CHOSEN_BY_FRAME else sequence.screen_content
    if screen_content and sequence.integer_motion == _CHOSEN_BY_FRAME:
        bits.take()
    bits.take(sequence.frame_id_bits)
    return kind == _SWITCH_FRAME or bool(bits.take())
