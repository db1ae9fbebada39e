"""G.711 against its own definition, and against the standard library's codec while that still exists."""

import struct
import warnings
from array import array

import pytest

from p2psip.media.g711 import CODECS, PCMA, PCMU, AudioCodec

EVERY_SAMPLE = array("h", range(-32768, 32768))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_every_code_survives_a_round_trip(codec: AudioCodec) -> None:
    codes = bytes(range(256))
    again = codec.encode(codec.decode(codes))
    # mu-law writes zero in two ways; minus zero comes back as plus zero.
    assert again == (codes.replace(b"\x7f", b"\xff") if codec is PCMU else codes)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_error_stays_within_half_a_step(codec: AudioCodec) -> None:
    """Steps double with each segment: never more than 1/16 of the sample, but for the smallest."""
    decoded = codec.decode(codec.encode(EVERY_SAMPLE))
    clipped = 32124
    for sample, heard in zip(EVERY_SAMPLE, decoded, strict=True):
        if abs(sample) < clipped:
            assert abs(sample - heard) <= max(16, abs(sample) / 16 + 4), sample


def test_silence_and_loudest() -> None:
    assert PCMU.encode(array("h", [0, 32767, -32768])) == b"\xff\x80\x00"
    assert PCMA.encode(array("h", [0, 32767, -32768])) == b"\xd5\xaa\x2a"


def test_agrees_with_the_standard_library_on_every_sample() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        audioop = pytest.importorskip("audioop", reason="audioop left Python with 3.13")
    linear = struct.pack(f"<{len(EVERY_SAMPLE)}h", *EVERY_SAMPLE)
    assert PCMU.encode(EVERY_SAMPLE) == audioop.lin2ulaw(linear, 2)
    assert PCMA.encode(EVERY_SAMPLE) == audioop.lin2alaw(linear, 2)
    codes = bytes(range(256))
    assert PCMU.decode(codes) == array("h", struct.unpack("<256h", audioop.ulaw2lin(codes, 2)))
    assert PCMA.decode(codes) == array("h", struct.unpack("<256h", audioop.alaw2lin(codes, 2)))
