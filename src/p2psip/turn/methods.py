"""The methods of TURN (RFC 8656 section 17)."""

from __future__ import annotations

from typing import Final

ALLOCATE: Final = 0x003
REFRESH: Final = 0x004
SEND: Final = 0x006
DATA_METHOD: Final = 0x007
CREATE_PERMISSION: Final = 0x008
CHANNEL_BIND: Final = 0x009

UDP: Final = 17
"""What REQUESTED-TRANSPORT may say (section 18.8)."""

_CLASS: Final = 0x0110
_INDICATION: Final = 0x0010

_OF_TURN: Final = frozenset((ALLOCATE, REFRESH, SEND, DATA_METHOD, CREATE_PERMISSION, CHANNEL_BIND))
_CHANNELS_BIT: Final = 0x4000


def is_of_turn(datagram: bytes) -> bool:
    """True if a datagram that is STUN's or a channel's by its first byte (RFC 7983) is TURN's: by its method, as TURN
    may share a port with checks and plain questions.
    """
    kind = int.from_bytes(datagram[:2], "big")
    method = (kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | (kind & 0x000F)
    return bool(kind & _CHANNELS_BIT) or method in _OF_TURN


def is_of_stream(first_byte: int) -> bool:
    """True if a stream that begins so is TURN's without TLS: the first message of a client is a request."""
    return first_byte < 4


def carries_data(message: bytes) -> bool:
    """True of a message that carries a datagram of or for a peer, which may be lost as any datagram may."""
    kind = int.from_bytes(message[:2], "big")
    return bool(kind & _CHANNELS_BIT) or kind & _CLASS == _INDICATION
