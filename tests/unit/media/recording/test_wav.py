"""WAV files of G.711, byte by byte as other programs read them."""

from __future__ import annotations

import struct

import pytest

from p2psip.media.recording.wav import mu_law_wav


@pytest.mark.parametrize("length", [0, 1, 8000])
def test_what_is_in_a_file(length: int) -> None:
    data = bytes([3]) * length
    wav = mu_law_wav(data)
    assert len(wav) == 8 + struct.unpack_from("<I", wav, 4)[0]
    assert (wav[:4], wav[8:16]) == (b"RIFF", b"WAVEfmt ")
    size, kind, channels, rate, a_second, block, bits, extension = struct.unpack_from("<IHHIIHHH", wav, 16)
    assert (size, kind, channels, rate, a_second, block, bits, extension) == (18, 7, 1, 8000, 8000, 1, 8, 0)
    assert wav[38:50] == b"fact" + struct.pack("<II", 4, length)
    assert wav[50:58] == b"data" + struct.pack("<I", length)
    assert wav[58 : 58 + length] == data
    assert len(wav) % 2 == 0
