"""Sums of G.711 audio with nothing but Python: one integer holds a whole frame, and is added as one.

A frame is a number with 16 bits for each sample. What a code means is a 14-bit value, to which 8192 are added so that
it is never below zero: four such values fit into 16 bits, so whole frames are added and subtracted with no carry from
one sample into the next. From codes to lanes and back lead tables, and the loops over samples are the interpreter's.
"""

from __future__ import annotations

from array import array
from functools import cache
from sys import byteorder

from p2psip.media.g711 import AudioCodec, Samples

SPEAKERS_MAX = 4
"""So many are heard at once: no more values fit into a lane, and nobody understands five."""

_BIAS = 8192
_LANE = 1 << 16


def widened(payload: bytes, codec: AudioCodec) -> bytes:
    """The lanes of a payload: two bytes a sample, the lower first."""
    low, high = _widening(codec)
    lanes = bytearray(2 * len(payload))
    lanes[::2], lanes[1::2] = payload.translate(low), payload.translate(high)
    return bytes(lanes)


def narrowed(total: int, frames: int, samples: int, codec: AudioCodec) -> bytes:
    """The payload of a sum of so many frames of so many samples; what is too loud is cut off."""
    if not frames:
        return silence(samples, codec)
    lanes = array("H", total.to_bytes(2 * samples, "little"))
    if byteorder == "big":
        lanes.byteswap()
    return bytes(map(_narrowing(codec, frames).__getitem__, lanes))


def silence(samples: int, codec: AudioCodec) -> bytes:
    """A payload of nothing."""
    return codec.encode(array("h", [0])) * samples


def loudness(payload: bytes, codec: AudioCodec) -> float:
    """How loud a payload is on average: 0 is silence, about 250 the most."""
    return sum(payload.translate(_magnitudes(codec))) / len(payload)


def _values(codec: AudioCodec) -> Samples[int]:
    return codec.decode(bytes(range(256)))


@cache
def _widening(codec: AudioCodec) -> tuple[bytes, bytes]:
    """The lower byte of what a code means in a lane, and the upper."""
    lanes = [(value >> 2) + _BIAS for value in _values(codec)]
    return bytes(lane & 0xFF for lane in lanes), bytes(lane >> 8 for lane in lanes)


@cache
def _magnitudes(codec: AudioCodec) -> bytes:
    return bytes(min(255, abs(value) >> 7) for value in _values(codec))


@cache
def _narrowing(codec: AudioCodec, frames: int) -> bytes:
    """The code of each value that a lane can have in which so many are added."""
    codes = codec.encode(array("h", range(-4 * _BIAS, 4 * _BIAS, 4)))
    below = (frames - 1) * _BIAS
    return codes[:1] * below + codes + codes[-1:] * (_LANE - below - len(codes))
