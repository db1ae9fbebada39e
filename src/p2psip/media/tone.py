"""A tone to play, and an ear for one: how a call without people proves that both sides hear each other."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from functools import lru_cache

from p2psip.media.g711 import SAMPLE_RATE_HZ, Samples

FULL_SCALE = 32767
BLOCK_SAMPLES = 160
BLOCK_MS = 20
QUIETEST_DBFS = -50.0
PURITY_MIN = 0.8
"""The share of a block's energy that lies at one frequency, from which on we call it a tone."""

BIN_HZ = 20


STEPS_A_HZ = 10
"""To what part of a hertz a tone is exact: so its samples come again after ten seconds at the latest."""


class ToneGenerator:
    """A sine, to a tenth of a hertz. Level 0 dBFS is the loudest sine that 16 bits can carry."""

    def __init__(self, frequency_hz: float, level_dbfs: float = -12.0) -> None:
        self._cycle = _cycle(round(frequency_hz * STEPS_A_HZ), level_dbfs)
        self._at = 0

    def frame(self, samples: int = BLOCK_SAMPLES) -> Samples[int]:
        """The next samples of the tone."""
        cycle, begin = self._cycle, self._at
        self._at = (begin + samples) % len(cycle)
        frame = cycle[begin : begin + samples]
        while len(frame) < samples:
            frame += cycle[: samples - len(frame)]
        return frame


@lru_cache(maxsize=64)
def _cycle(steps: int, level_dbfs: float) -> Samples[int]:
    """The samples of a sine, `steps` being its frequency, until they come again: a wave or several."""
    a_second = SAMPLE_RATE_HZ * STEPS_A_HZ
    step, amplitude = 2 * math.pi * steps / a_second, FULL_SCALE * 10 ** (level_dbfs / 20)
    return array("h", [round(amplitude * math.sin(i * step)) for i in range(a_second // math.gcd(a_second, steps))])


@dataclass(frozen=True, slots=True)
class Tone:
    """What was heard: the dominating frequency, how loud it was, and for how long in sum."""

    frequency_hz: float
    level_dbfs: float
    duration_ms: int

    def __str__(self) -> str:
        return f"{self.frequency_hz:.0f} Hz at {self.level_dbfs:.0f} dBFS for {self.duration_ms} ms"


class ToneDetector:
    """Listens in blocks of 20 ms and keeps a histogram of the pure tones among them, BIN_HZ a bin.

    Frequency: a sine satisfies x[i-1] + x[i+1] = 2 cos(w) x[i]; the w of a block is its least-squares solution with
    the coefficients' norm held (Pisarenko's method as So and Chan reformulated it). A block counts if most of its
    energy lies at that frequency.
    """

    def __init__(self) -> None:
        self._pending: Samples[int] = array("h")
        self._bins: dict[int, _Bin] = {}

    def feed(self, samples: Samples[int]) -> None:
        """Hear the next samples."""
        self._pending.extend(samples)
        while len(self._pending) >= BLOCK_SAMPLES:
            self._hear_block(self._pending[:BLOCK_SAMPLES])
            del self._pending[:BLOCK_SAMPLES]

    def tone(self) -> Tone | None:
        """The tone heard longest, or None if there was none: a tone between two bins counts as one."""
        best = max(self._bins, key=self._weight, default=None)
        if best is None:
            return None
        near = [self._bins[n] for n in (best - 1, best, best + 1) if n in self._bins]
        blocks, power = sum(b.blocks for b in near), sum(b.power for b in near)
        frequency_hz = sum(b.frequency_hz for b in near) / blocks
        return Tone(frequency_hz, _dbfs(power / blocks), blocks * BLOCK_MS)

    def _weight(self, n: int) -> tuple[int, int]:
        own = self._bins[n].blocks
        return sum(self._bins[k].blocks for k in (n - 1, n, n + 1) if k in self._bins), own

    def _hear_block(self, block: Samples[int]) -> None:
        if (pure := _pure(block.tobytes())) is not None:
            frequency_hz, power = pure
            self._bins.setdefault(int(frequency_hz / BIN_HZ), _Bin()).add(frequency_hz, power)


@dataclass(slots=True)
class _Bin:
    """Sums over the blocks whose tone falls between two multiples of BIN_HZ."""

    blocks: int = 0
    frequency_hz: float = 0.0
    power: float = 0.0

    def add(self, frequency_hz: float, power: float) -> None:
        self.blocks += 1
        self.frequency_hz += frequency_hz
        self.power += power


@lru_cache(maxsize=1024)
def _pure(block_bytes: bytes) -> tuple[float, float] | None:
    """Frequency and power of a block that is a tone; the blocks of one that a generator plays come again and again."""
    block = array("h", block_bytes)
    energy = sum(x * x for x in block)
    power = energy / BLOCK_SAMPLES
    if _dbfs(power) < QUIETEST_DBFS:
        return None
    omega = _frequency(block)
    if _energy_at(omega, block) < PURITY_MIN * energy:
        return None
    return omega * SAMPLE_RATE_HZ / (2 * math.pi), power


def _dbfs(power: float) -> float:
    return 10 * math.log10(max(power, 1e-9) * 2 / FULL_SCALE**2)


def _frequency(block: Samples[int]) -> float:
    """Radians a sample of the sine that fits best; white noise, and so the codec's, does not move it."""
    a = b = 0
    for before, x, after in zip(block, block[1:-1], block[2:], strict=False):
        both = before + after
        a += both * both - 2 * x * x
        b += x * both
    return math.acos(max(-1.0, min(1.0, (a + math.hypot(a, math.sqrt(8) * b)) / (4 * b)))) if b else math.pi / 2


def _energy_at(omega: float, block: Samples[int]) -> float:
    """The energy of the block's component at one frequency (Goertzel's recurrence)."""
    twice_cosine = 2 * math.cos(omega)
    newer = older = 0.0
    for x in block:
        newer, older = x + twice_cosine * newer - older, newer
    return 2 / len(block) * (newer * newer + older * older - twice_cosine * newer * older)
