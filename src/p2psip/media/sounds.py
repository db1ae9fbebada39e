"""What a call hears that waits, or that wants to know a number: tones with pauses.

Morse code (ITU-R M.1677-1) has no language, no recording and no licence, and radio operators know it.
"""

from __future__ import annotations

from array import array
from typing import Protocol

from p2psip.media.g711 import SAMPLE_RATE_HZ, Samples
from p2psip.media.tone import ToneGenerator

TONE_HZ = 440.0
DOT_MS = 80
"""15 words a minute."""

WAIT_ON_MS, WAIT_OFF_MS = 400, 4600
"""Of who waits: so little that it disturbs nobody, so often that nobody takes the line for dead."""

_MORSE = {
    "a": ".-", "b": "-...", "c": "-.-.", "d": "-..", "e": ".", "f": "..-.", "g": "--.", "h": "....", "i": "..",
    "j": ".---", "k": "-.-", "l": ".-..", "m": "--", "n": "-.", "o": "---", "p": ".--.", "q": "--.-", "r": ".-.",
    "s": "...", "t": "-", "u": "..-", "v": "...-", "w": ".--", "x": "-..-", "y": "-.--", "z": "--..",
    "0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-", "5": ".....", "6": "-....", "7": "--...",
    "8": "---..", "9": "----.", "+": ".-.-.", "-": "-....-", ".": ".-.-.-", "_": "..--.-",
}  # fmt: skip


class Sound(Protocol):
    """What can be played."""

    @property
    def duration_s(self) -> float:
        """How long it is, if it is not played again and again."""

    def frame(self, samples: int) -> Samples[int]:
        """The next samples of it."""


class Beeps:
    """A tone that is on and off for so many milliseconds, on first; again and again, or once and then silent."""

    def __init__(self, on_off_ms: tuple[int, ...], *, is_repeated: bool = False, hz: float = TONE_HZ) -> None:
        self._lengths = [ms * SAMPLE_RATE_HZ // 1000 for ms in on_off_ms]
        self._is_repeated = is_repeated
        self._tone = ToneGenerator(hz)
        self._part, self._played = 0, 0

    @property
    def duration_s(self) -> float:
        """How long it is, once."""
        return sum(self._lengths) / SAMPLE_RATE_HZ

    def frame(self, samples: int) -> Samples[int]:
        """Sound"""
        made: Samples[int] = array("h")
        while len(made) < samples:
            wanted = samples - len(made)
            if self._part >= len(self._lengths):
                made.extend(array("h", bytes(2 * wanted)))
                continue
            count = min(wanted, self._lengths[self._part] - self._played)
            # The parts with an even number are on.
            made.extend(array("h", bytes(2 * count)) if self._part % 2 else self._tone.frame(count))
            self._played += count
            if self._played >= self._lengths[self._part]:
                self._part, self._played = self._part + 1, 0
                if self._is_repeated:
                    self._part %= len(self._lengths)
        return made


def waiting() -> Beeps:
    """What somebody hears who is parked."""
    return Beeps((WAIT_ON_MS, WAIT_OFF_MS), is_repeated=True)


def morse(text: str) -> Beeps:
    """Letters, digits and a few signs in Morse code, after a second; what has no code is a pause."""
    # "A dash is equal to three dots", "the space between the signals forming the same letter is equal to one dot",
    # "the space between two letters is equal to three dots", and between words seven.
    lengths = [0, 1000]
    for character in text.lower():
        if character not in _MORSE:
            lengths[-1] += 4 * DOT_MS
            continue
        for sign in _MORSE[character]:
            lengths += [DOT_MS if sign == "." else 3 * DOT_MS, DOT_MS]
        lengths[-1] += 2 * DOT_MS
    return Beeps(tuple(lengths))
