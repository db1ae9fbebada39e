"""The tone and the ear for it."""

import math
import random
from array import array

import pytest

from p2psip.media.g711 import CODECS, AudioCodec
from p2psip.media.tone import ToneDetector, ToneGenerator


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("level_dbfs", [-6.0, -12.0, -30.0])
@pytest.mark.parametrize("frequency_hz", [200, 440, 550, 700, 1000, 2500])
def test_frequency_level_and_duration_through_a_codec(codec: AudioCodec, level_dbfs: float, frequency_hz: int) -> None:
    generator, detector = ToneGenerator(frequency_hz, level_dbfs), ToneDetector()
    for _ in range(50):
        detector.feed(codec.decode(codec.encode(generator.frame())))
    tone = detector.tone()
    assert tone is not None
    assert tone.frequency_hz == pytest.approx(frequency_hz, abs=0.5 if level_dbfs > -20 else 2)
    assert tone.level_dbfs == pytest.approx(level_dbfs, abs=0.5)
    assert tone.duration_ms == 1000


def test_silence_noise_and_speechlike_sound_are_no_tone() -> None:
    rng = random.Random(7)
    detector = ToneDetector()
    detector.feed(array("h", [0] * 1600))
    detector.feed(array("h", [rng.randrange(-8000, 8000) for _ in range(1600)]))
    detector.feed(array("h", [round(sum(2000 * math.sin(i * k * 0.1) for k in (1, 2, 3, 4))) for i in range(1600)]))
    assert detector.tone() is None


def test_the_longer_of_two_tones_dominates() -> None:
    detector = ToneDetector()
    detector.feed(ToneGenerator(425).frame(160 * 30))
    detector.feed(ToneGenerator(900).frame(160 * 10))
    tone = detector.tone()
    assert tone is not None
    assert (round(tone.frequency_hz), tone.duration_ms) == (425, 600)


def test_a_tone_on_the_border_of_two_bins_is_heard_whole() -> None:
    rng, generator, detector = random.Random(3), ToneGenerator(440, -20), ToneDetector()
    for _ in range(50):
        detector.feed(array("h", [x + rng.randrange(-100, 100) for x in generator.frame()]))
    tone = detector.tone()
    assert tone is not None
    assert tone.frequency_hz == pytest.approx(440, abs=3)
    assert tone.duration_ms == 1000


def test_samples_may_come_in_pieces_of_any_size() -> None:
    whole, pieces = ToneDetector(), ToneDetector()
    samples = ToneGenerator(333).frame(4000)
    whole.feed(samples)
    for at in range(0, 4000, 37):
        pieces.feed(samples[at : at + 37])
    assert whole.tone() == pieces.tone() is not None


def test_a_tone_reads_as_a_sentence() -> None:
    detector = ToneDetector()
    detector.feed(ToneGenerator(550, -12).frame(16000))
    assert str(detector.tone()) == "550 Hz at -12 dBFS for 2000 ms"
