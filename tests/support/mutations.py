"""Damage to bytes, by a seed: what a careless, a broken and a malicious sender would do to a valid specimen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
WORDS = (b"\0\0", b"\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0")
TEXT = (
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b'"',
    b"<",
    b">",
    b"&#0;",
    b";",
    b"%00",
    b"-1",
    b"99999999999999999999",
    b"\xc3",
)


def _flip(data: bytearray, rng: random.Random, _: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random, _: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(NUMBERS)


def _word(data: bytearray, rng: random.Random, _: bytes) -> None:
    word, at = rng.choice(WORDS), rng.randint(0, len(data))
    data[at : at + len(word)] = word


def _text(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randint(0, len(data))
    data[at : at + rng.randint(0, 4)] = rng.choice(TEXT)


def _cut(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randint(0, len(data))
    del data[at : at + rng.choice((1, 2, 4, 16, len(data)))]


def _double(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = data[at : at + rng.choice((1, 4, 16, 64))]


def _shift(data: bytearray, rng: random.Random, _: bytes) -> None:
    """A length that is a little too small or too large."""
    if data:
        at = rng.randrange(len(data))
        data[at] = (data[at] + rng.choice((-2, -1, 1, 2))) % 256


def _splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, cut = rng.randint(0, len(data)), rng.randint(0, len(other))
    data[at:] = other[cut:]


def _noise(data: bytearray, rng: random.Random, _: bytes) -> None:
    at = rng.randint(0, len(data))
    data[at : at + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))


DAMAGES: Sequence[Callable[[bytearray, random.Random, bytes], None]] = (
    _flip, _number, _word, _text, _cut, _double, _shift, _splice, _noise,
)  # fmt: skip


def mutant(specimens: Sequence[bytes], rng: random.Random) -> bytes:
    """A specimen with some damage, most often a little."""
    data = bytearray(rng.choice(specimens))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(DAMAGES)(data, rng, rng.choice(specimens))
    return bytes(data)
