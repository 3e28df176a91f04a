"""Damage to bytes, as broken disks, cut connections and malice do it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Where formats keep sizes and tables.
_HEAD = 256


def mutated(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """Return bytes with one to six kinds of damage.

    Args:
        rng: Decides.
        data: Bytes to damage.
        others: Files from which parts may be inserted.
        words: Short byte strings that mean something where these bytes are read.
    """
    for _ in range(rng.randint(1, 6)):
        if not data:
            break
        place = rng.randrange(min(len(data), _HEAD) if rng.random() < 0.5 else len(data))
        replaced, part = _damage(rng, data[place:], others, words)
        data = data[:place] + part + data[place + replaced :]
    return data


def _damage(rng: Random, rest: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> tuple[int, bytes]:
    """Return how many bytes at the beginning of the rest are replaced, and the replacement."""
    kinds = (_flipped_bit, _odd_number, _nothing, _twice, _end)
    kind = rng.randrange(len(kinds) + (2 if words else 1))
    if kind < len(kinds):
        return kinds[kind](rng, rest)
    part = rng.choice(words) if kind > len(kinds) else _part(rng, rng.choice(others))
    return rng.choice((0, len(part))), part


def _flipped_bit(rng: Random, rest: bytes) -> tuple[int, bytes]:
    return 1, bytes([rest[0] ^ 1 << rng.randrange(8)])


def _odd_number(rng: Random, _: bytes) -> tuple[int, bytes]:
    size = rng.choice((1, 2, 4))
    number = rng.choice(ODD_NUMBERS) & (256**size - 1)
    return size, number.to_bytes(size, rng.choice(("big", "little")))


def _nothing(rng: Random, _: bytes) -> tuple[int, bytes]:
    return rng.choice((1, 2, 4, 16, 256)), b""


def _twice(rng: Random, rest: bytes) -> tuple[int, bytes]:
    return 0, rest[: rng.choice((1, 4, 64, 1024))]


def _end(rng: Random, rest: bytes) -> tuple[int, bytes]:
    return (len(rest) if rng.random() < 0.4 else 0), b""


def _part(rng: Random, other: bytes) -> bytes:
    start = rng.randrange(len(other) or 1)
    return other[start : start + rng.choice((4, 32, 512, len(other)))]
