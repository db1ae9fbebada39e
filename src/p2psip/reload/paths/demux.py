"""One UDP port for all links: what a datagram is (RFC 7983), and whose.

Theory of operation. A datagram is told by its first byte, then by its two addresses. Between two addresses there is one
DTLS association, and for a while a second that is to take its place: the other end was started anew, or we dial it
again. A record of the handshake in clear (epoch 0) is the newcomer's; an encrypted one is whose key fits, which each of
them finds out for itself: what is not for it, it drops (RFC 6347 section 4.1.2.7). When the newcomer is up the other is
over; section 4.2.8: "the server MUST NOT destroy the existing association until the client has demonstrated
reachability".

Two nodes may dial each other at once. Of their two ClientHellos the one with the larger random goes first, which both
ends find alike; who sent the other serves it, and takes that association for the one that it wanted.
"""

from __future__ import annotations

import enum
from typing import Final, Generic, NamedTuple, TypeVar

from p2psip.base.address import Address

RECORD_HEADER_BYTES: Final = 13
EPOCH = slice(3, 5)
EPOCH_ZERO: Final = bytes(2)
FAREWELL_HEAD: Final = bytes([21, 254, 253]) + EPOCH_ZERO
CLOSE_NOTIFY: Final = bytes([0, 2, 1, 0])
HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
FRAGMENT_OFFSET = slice(19, 22)
RANDOM = slice(27, 59)
"""RFC 6347 4.2.2: a record's header, 12 bytes of a handshake message's, client_version; then the random."""


class DatagramKind(enum.Enum):
    """What shares a port with links."""

    STUN = "stun"
    DTLS = "dtls"
    CHANNEL = "channel"
    """ChannelData of TURN (RFC 8656 section 12)."""
    OTHER = "other"


def kind_of(datagram: bytes) -> DatagramKind:
    """RFC 7983 section 7: "The receiver looks at the first byte of the packet."."""
    first = datagram[0] if datagram else -1
    if 20 <= first <= 63:
        return DatagramKind.DTLS
    if 0 <= first <= 3:
        return DatagramKind.STUN
    # ZRTP and RTP are not spoken here: "If the value does not match any known range, then the packet MUST be dropped".
    return DatagramKind.CHANNEL if 64 <= first <= 79 else DatagramKind.OTHER


def hello_random(datagram: bytes) -> bytes | None:
    """The random of a ClientHello that begins a datagram; None if none does. The one with a cookie has the same."""
    is_hello = (
        len(datagram) >= RANDOM.stop
        and datagram[0] == HANDSHAKE
        and datagram[EPOCH] == EPOCH_ZERO
        and datagram[RECORD_HEADER_BYTES] == CLIENT_HELLO
        and not any(datagram[FRAGMENT_OFFSET])
    )
    return datagram[RANDOM] if is_hello else None


def farewell(random: bytes) -> bytes:
    """A close_notify in clear (RFC 5246 section 7.2.1): the handshake that this ClientHello began is given up.

    Of which it speaks one sees by its sequence number, which is beyond those of the flights.
    """
    return b"".join((FAREWELL_HEAD, bytes([0x80 | random[0]]), random[1:6], CLOSE_NOTIFY))


def _is_farewell(datagram: bytes) -> bool:
    return datagram.startswith(FAREWELL_HEAD) and datagram[11:] == CLOSE_NOTIFY


class Pair(NamedTuple):
    """Both ends of datagrams, as this machine sees them."""

    local: Address
    remote: Address


A = TypeVar("A")


class DatagramRoute(NamedTuple, Generic[A]):
    """All of `takers` take a datagram; if it `begins`, it may begin an association of which this end is the server."""

    takers: tuple[A, ...] = ()
    begins: bool = False


class _Newcomer(NamedTuple, Generic[A]):
    association: A
    random: bytes
    is_client: bool


class Associations(Generic[A]):
    """Which association of DTLS a datagram is for, by the two addresses between which it goes."""

    def __init__(self) -> None:
        self._newcomers: dict[Pair, _Newcomer[A]] = {}
        self._up: dict[Pair, A] = {}
        self._before: dict[A, Pair] = {}
        """Between which addresses those were that have moved: their other end may not know yet, or not follow."""

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._up) - len(self._before)

    @property
    def handshaking(self) -> int:
        """How many are not up yet."""
        return len(self._newcomers)

    def newcomer(self, pair: Pair) -> A | None:
        """The association of this pair whose handshake is under way."""
        found = self._newcomers.get(pair)
        return None if found is None else found.association

    def towards(self, remote: Address) -> list[A]:
        """All with a remote, from whichever of our addresses."""
        newcomers = [each.association for pair, each in self._newcomers.items() if pair.remote == remote]
        return [*newcomers, *(each for pair, each in self._up.items() if pair.remote == remote)]

    def begin(self, pair: Pair, association: A, random: bytes, *, is_client: bool) -> A | None:
        """A handshake begins, by the ClientHello with this random. The one under way whose place it takes."""
        before = self._newcomers.get(pair)
        self._newcomers[pair] = _Newcomer(association, random, is_client)
        return None if before is None else before.association

    def up(self, pair: Pair, association: A) -> A | None:
        """A handshake is done. The association that was up before, which is over now."""
        if self.newcomer(pair) is association:
            del self._newcomers[pair]
        before = self._up.get(pair)
        self._up[pair] = association
        if before is not None and self._before.get(before) == pair:
            # That one has moved away.
            del self._before[before]
            return None
        return None if before is association else before

    def move(self, association: A, here: Pair, there: Pair) -> A | None:
        """It goes from `here` to `there`; what still comes between the former two is for it as well, until it moves
        again. The association that was there before, which is over now.
        """
        self._leave(association)
        before = self.up(there, association)
        if here != there and self._up.get(here) is association:
            self._before[association] = here
        return before

    def _leave(self, association: A) -> None:
        if (here := self._before.pop(association, None)) is not None:
            del self._up[here]

    def forget(self, pair: Pair, association: A) -> None:
        """It is over, or another has its place already."""
        self._leave(association)
        if self.newcomer(pair) is association:
            del self._newcomers[pair]
        if self._up.get(pair) is association:
            del self._up[pair]

    def route(self, pair: Pair, datagram: bytes) -> DatagramRoute[A]:
        """Whom a datagram of DTLS is for."""
        newcomer, known = self._newcomers.get(pair), self._up.get(pair)
        random = hello_random(datagram)
        if random is not None:
            return self._route_hello(newcomer, random)
        if _is_farewell(datagram) and (newcomer is None or datagram != farewell(newcomer.random)):
            # It comes late, and another handshake goes on, or none.
            return DatagramRoute()
        takers = () if newcomer is None else (newcomer.association,)
        if known is not None and (newcomer is None or datagram[EPOCH] != EPOCH_ZERO):
            takers = (known, *takers)
        return DatagramRoute(takers)

    def _route_hello(self, newcomer: _Newcomer[A] | None, random: bytes) -> DatagramRoute[A]:
        if newcomer is None:
            return DatagramRoute(begins=True)
        if random == newcomer.random:
            # Repeated by who is served already. Or our own: then we have dialled ourselves, and it is an answer.
            return DatagramRoute((newcomer.association,))
        # Where both ends dial at once the larger goes first. Where we serve already the other end has begun anew.
        return DatagramRoute(begins=not newcomer.is_client or random > newcomer.random)
