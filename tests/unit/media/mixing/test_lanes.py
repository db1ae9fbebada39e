"""Sums of frames: exactly what one gets sample by sample."""

from __future__ import annotations

import random
from array import array

import pytest

from p2psip.media.g711 import CODECS, PCMA, PCMU, AudioCodec
from p2psip.media.mixing.lanes import SPEAKERS_MAX, loudness, narrowed, silence, widened


def frame(seed: object, codec: AudioCodec, samples: int = 160) -> bytes:
    return random.Random(f"{seed}").randbytes(samples)


def lanes(payload: bytes, codec: AudioCodec) -> int:
    return int.from_bytes(widened(payload, codec), "little")


def added(payloads: list[tuple[bytes, AudioCodec]], codec: AudioCodec) -> bytes:
    """The slow way."""
    sums = [sum(each) for each in zip(*(c.decode(p) for p, c in payloads), strict=True)]
    return codec.encode(array("h", [max(-32768, min(32767, each)) for each in sums]))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", range(1, SPEAKERS_MAX + 1))
def test_a_sum_is_what_it_is_sample_by_sample(codec: AudioCodec, count: int) -> None:
    """Of random codes, among which are the loudest: what is too loud is cut off, and nothing spills over."""
    payloads = [(frame(n, each), each) for n, each in zip(range(count), (PCMU, PCMA, PCMU, PCMA), strict=False)]
    total = sum(lanes(*each) for each in payloads)
    assert narrowed(total, count, 160, codec) == added(payloads, codec)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("code", [0x00, 0x80, 0x2A, 0xAA])
def test_the_loudest_of_all_at_once_is_cut_off(codec: AudioCodec, code: int) -> None:
    payloads = [(bytes([code]) * 4, codec)] * SPEAKERS_MAX
    total = sum(lanes(*each) for each in payloads)
    assert narrowed(total, SPEAKERS_MAX, 4, codec) == added(payloads, codec)


def test_who_is_taken_out_of_a_sum_is_not_in_it() -> None:
    one, other = frame("one", PCMU), frame("other", PCMA)
    total = lanes(one, PCMU) + lanes(other, PCMA)
    assert narrowed(total - lanes(one, PCMU), 1, 160, PCMA) == added([(other, PCMA)], PCMA)


@pytest.mark.parametrize("codec", CODECS)
def test_nobody_is_silence(codec: AudioCodec) -> None:
    assert narrowed(0, 0, 3, codec) == silence(3, codec) == codec.encode(array("h", [0, 0, 0]))


@pytest.mark.parametrize("codec", CODECS)
def test_loudness(codec: AudioCodec) -> None:
    loud = codec.encode(array("h", [30000, -30000] * 80))
    low = codec.encode(array("h", [300, -300] * 80))
    assert loudness(silence(160, codec), codec) == 0.0
    assert 1.0 <= loudness(low, codec) < 4.0
    assert loudness(loud, codec) > 200.0
