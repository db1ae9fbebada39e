"""G.711 in a WAV file: RIFF WAVE with the formats 6 and 7 (Multiple APIs and data specifications 1.0, RFC 2361)."""

from __future__ import annotations

import struct

from p2psip.media.g711 import SAMPLE_RATE_HZ

WAVE_FORMAT_MULAW = 7
"""RFC 2361 section 3 (A.3): "CCITT mu-law"."""

_FORMAT = struct.Struct("<HHIIHHH")
_CHUNK = struct.Struct("<4sI")


def mu_law_wav(samples: bytes) -> bytes:
    """A file with one channel of mu-law, a byte a sample."""
    # What is not PCM has the size of its extension, here none, and says in `fact` how many samples there are.
    form = _FORMAT.pack(WAVE_FORMAT_MULAW, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ, 1, 8, 0)
    fact = len(samples).to_bytes(4, "little")
    # "Chunks [...] are always padded to nearest WORD boundaries".
    chunks = b"WAVE" + b"".join(
        _CHUNK.pack(name, len(body)) + body + bytes(len(body) % 2)
        for name, body in ((b"fmt ", form), (b"fact", fact), (b"data", samples))
    )
    return _CHUNK.pack(b"RIFF", len(chunks)) + chunks
