"""G.711, the two codecs that every telephone has: PCMU (mu-law) and PCMA (A-law) (RFC 3551 section 4.5.14).

Audio is an `array('h')` of signed 16-bit samples at 8000 Hz.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

SAMPLE_RATE_HZ = 8000

Samples = array  # array("h"): signed 16-bit samples
MU_LAW_BIAS = 33
MU_LAW_MAX = 8191 - MU_LAW_BIAS


@dataclass(frozen=True, slots=True)
class AudioCodec:
    """One way to write audio as bytes, one byte a sample, with the number RFC 3551 gives it."""

    payload_type: int
    name: str
    _encoding: Callable[[], bytes]
    _decoding: Callable[[], tuple[bytes, bytes]]
    _shift: int

    def encode(self, samples: Samples[int]) -> bytes:
        """Compress; a negative sample indexes the table from its end."""
        table, shift = self._encoding(), self._shift
        return bytes([table[sample >> shift] for sample in samples])

    def decode(self, payload: bytes) -> Samples[int]:
        """Expand."""
        first, second = self._decoding()
        samples = bytearray(2 * len(payload))
        samples[::2], samples[1::2] = payload.translate(first), payload.translate(second)
        return array("h", bytes(samples))


def _table(encode_one: Callable[[int], int], bits: int) -> bytes:
    half = 1 << (bits - 1)
    return bytes([encode_one(value) for value in (*range(half), *range(-half, 0))])


def _halves(decode_one: Callable[[int], int]) -> tuple[bytes, bytes]:
    """The first byte of the sample of each code, and the second, as this machine has them in memory."""
    samples = array("h", map(decode_one, range(256))).tobytes()
    return samples[::2], samples[1::2]


def _mu_law_code(value: int) -> int:
    """The code of a 14-bit sample: complemented, 3 bits of segment, 4 bits within it."""
    magnitude = min(abs(value), MU_LAW_MAX) + MU_LAW_BIAS
    segment = (magnitude >> 6).bit_length()
    code = segment << 4 | (magnitude >> (segment + 1)) & 0x0F
    return code ^ (0xFF if value >= 0 else 0x7F)


def _mu_law_value(code: int) -> int:
    code ^= 0xFF
    magnitude = ((((code & 0x0F) << 1) + MU_LAW_BIAS) << (code >> 4 & 7)) - MU_LAW_BIAS
    return -4 * magnitude if code & 0x80 else 4 * magnitude


def _a_law_code(value: int) -> int:
    """The code of a 13-bit sample: every other bit complemented; segments 0 and 1 have the same step."""
    magnitude = value if value >= 0 else -value - 1
    segment = (magnitude >> 5).bit_length()
    code = segment << 4 | (magnitude >> max(segment, 1)) & 0x0F
    return code ^ (0xD5 if value >= 0 else 0x55)


def _a_law_value(code: int) -> int:
    code ^= 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 0x0F) << 1) + 1 + (0x20 if segment else 0)
    magnitude <<= 3 + max(segment - 1, 0)
    return magnitude if code & 0x80 else -magnitude


@cache
def _mu_law_encoding() -> bytes:
    return _table(_mu_law_code, bits=14)


@cache
def _mu_law_decoding() -> tuple[bytes, bytes]:
    return _halves(_mu_law_value)


@cache
def _a_law_encoding() -> bytes:
    return _table(_a_law_code, bits=13)


@cache
def _a_law_decoding() -> tuple[bytes, bytes]:
    return _halves(_a_law_value)


PCMU = AudioCodec(0, "PCMU", _mu_law_encoding, _mu_law_decoding, 2)
PCMA = AudioCodec(8, "PCMA", _a_law_encoding, _a_law_decoding, 3)
CODECS = (PCMU, PCMA)
