"""Which numbers are rooms, and how peers say so: what an operator sets, and what stands in the offer of the service.

The offer of a mixer (docs/decisions/services-by-permission.md) has words: the numbers that it mixes, as patterns, and
after `=` those rooms that somebody is in: `30XX 7000 =3001`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from p2psip.sip.entities.numbers.dial_plan import Rule
from p2psip.sip.message.headers import Reason
from p2psip.sip.message.uri import SipUri, Uri

PATTERNS_MAX = 32
"""Of one mixer."""

PARTICIPANTS = 32
"""Of all its rooms together, where its operator says nothing else."""

OFFER_BYTES_MAX = 320
"""What the words may take: the whole record has 512 bytes, as the Kind is usually configured."""

MIXER_PARAM = "mixer"
"""The parameter of a URI by which one peer sends somebody to the mixer of another one."""

ROOM_PARAM = "room"
"""That of a URI by which somebody is on his way to a room, and it is not known yet where that is mixed: a number for
each time that it is tried."""

WHO_PARAM = "who"
"""That with the name of who is in."""

_PATTERN = re.compile(r"[0-9XZN*#]{2,16}")
_ROOM = re.compile(r"[0-9*#]{2,16}")


_OF_MIXER = frozenset({"gr", MIXER_PARAM, WHO_PARAM})


CLOSED = 503
LEAVES = Reason("SIP", CLOSED, "this peer stops")
"""Why a peer that stops ends the calls of its rooms: not, as a mixer else does, because the room is elsewhere."""


@dataclass(frozen=True, slots=True)
class Close:
    """An order to the mixer and to the caller of a peer: it stops, all are told, and nobody comes any more."""


def is_leaving(reasons: Iterable[Reason]) -> bool:
    """True if a mixer has said so, and is not to be called any more."""
    return any((reason.protocol, reason.cause) == (LEAVES.protocol, CLOSED) for reason in reasons)


def is_for_mixer(uri: Uri) -> bool:
    """True for a URI by which a peer itself sends somebody to a mixer, and which leads to nobody else."""
    return (
        isinstance(uri, SipUri)
        and uri.param(MIXER_PARAM) is not None
        and all(name.lower() in _OF_MIXER for name, _ in uri.params)
    )


def is_pattern(text: str) -> bool:
    """True for a pattern of rooms: digits, * and #, and X, Z and N as in the dial plan; one number is one too."""
    return _PATTERN.fullmatch(text) is not None


def is_room(text: str) -> bool:
    """True for what can be the number of a room."""
    return _ROOM.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RoomTerms:
    """What a peer mixes: rooms with these numbers, for so many participants of all of them at once."""

    numbers: tuple[str, ...]
    participants: int = PARTICIPANTS

    def has(self, number: str) -> bool:
        """True if this number is a room."""
        return any(_is_of(number, pattern) for pattern in self.numbers)


@dataclass(frozen=True, slots=True)
class OfferedRooms:
    """What a mixer says: which numbers are rooms that it mixes, and in which somebody is."""

    numbers: tuple[str, ...]
    present: frozenset[str]

    def has(self, number: str) -> bool:
        """True if this number is a room."""
        return any(_is_of(number, pattern) for pattern in self.numbers)


def write_rooms(terms: RoomTerms, present: Iterable[str]) -> str:
    """In words; of the rooms that somebody is in as many as there is room for."""
    text = " ".join(terms.numbers)
    for room in sorted(present):
        if len(text) + len(room) + 2 > OFFER_BYTES_MAX:
            break
        text += f" ={room}"
    return text


def read_rooms(text: str) -> OfferedRooms:
    """The words that can be read, up to a bound; a later release may say more."""
    words = text[:OFFER_BYTES_MAX].split(" ")
    numbers = tuple(word for word in words if is_pattern(word))[:PATTERNS_MAX]
    return OfferedRooms(numbers, frozenset(word[1:] for word in words if word[:1] == "=" and is_room(word[1:])))


@lru_cache(maxsize=512)
def _rule(pattern: str) -> Rule:
    return Rule(pattern, "rooms")


def _is_of(number: str, pattern: str) -> bool:
    return is_room(number) and _rule(pattern).matches(number)
