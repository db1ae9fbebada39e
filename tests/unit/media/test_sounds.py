"""What a call hears that waits, or wants to know a number."""

from __future__ import annotations

from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.media.sounds import DOT_MS, Beeps, morse, waiting

DOT = DOT_MS * SAMPLE_RATE_HZ // 1000


def signs(sound: Beeps) -> str:
    """What an operator writes down, letters apart by a blank."""
    samples = sound.frame(int(sound.duration_s * SAMPLE_RATE_HZ))
    # A dot of silence has no sample that is not 0; of a tone hardly one is.
    parts = [any(samples[at : at + DOT]) for at in range(SAMPLE_RATE_HZ, len(samples) - DOT + 1, DOT)]
    text = "".join("#" if part else " " for part in parts)
    return text.replace("   ", "|").replace("###", "-").replace("#", ".").replace(" ", "").strip("|").replace("|", " ")


def test_morse() -> None:
    assert signs(morse("dl1")) == "-.. .-.. .----"
    # What has no code is the pause between words, of seven dots.
    assert signs(morse("1:0")) == ".---- .-----".replace(" ", "  ").replace(".-----", "-----")
    assert signs(morse("")) == ""


def test_it_is_silent_after_its_end() -> None:
    sound = Beeps((20, 20))
    assert any(sound.frame(160))
    assert not any(sound.frame(160))
    assert not any(sound.frame(1600))


def test_who_waits_hears_it_again_and_again() -> None:
    sound = waiting()
    period = int(sound.duration_s * SAMPLE_RATE_HZ)
    for _ in range(3):
        assert any(sound.frame(160))
        assert len(sound.frame(period - 320)) == period - 320
        assert not any(sound.frame(160)), "it is off most of the time"


def test_frames_of_any_length_are_the_same_sound() -> None:
    whole, parts = morse("73"), morse("73")
    length = int(whole.duration_s * SAMPLE_RATE_HZ) + 100
    pieces = [parts.frame(min(77, length - at)) for at in range(0, length, 77)]
    joined = [sample for piece in pieces for sample in piece]
    assert max(abs(a - b) for a, b in zip(whole.frame(length), joined, strict=True)) <= 1
