"""What goes in and out of the core that makes paths.

Numbers that the core chooses are even; those of accepted connections are odd and chosen by the driver.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.portmap.values import HomeRouter
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.relays.relay_values import RelayEvent
from p2psip.reload.wire.link_messages import (
    AppAttachAns,
    AppAttachReq,
    AttachReqAns,
    CandType,
    IceCandidate,
    OverlayLinkType,
)

COMPONENT: Final = 1
"""6.5.1.1: "Since there is only one component, it is always 1, and thus left out of the structure."."""


PASSIVE: Final = b"passive"
ACTIVE: Final = b"active"
"""Roles of 6.5.1.1: who answers an Attach is active, and the TLS client."""


CALL_RECORDS: Final = b"p2psip-calls"
"""What a stream says in its handshake that it is for (ALPN, RFC 7301), if it carries the records of calls."""

STREAM_RECORD_BYTES: Final = 16 * 1024
"""The longest of these records that we send: with its length before it, it is two records of TLS at the most."""


class Purpose(enum.Enum):
    """What a connection carries: SIP alone is a stream of TLS, calls are SIP and media in records, of DTLS by ICE or on
    a stream beside it. One for a relay is a stream with it (RFC 8656), and no link.
    """

    RELOAD = "reload"
    SIP = "sip"
    CALLS = "calls"
    RELAY = "relay"


class Candidate(NamedTuple):
    """Where a node may be dialled, and with what: TLS over TCP or DTLS over UDP."""

    address: Address
    link_type: OverlayLinkType = OverlayLinkType.TLS_TCP_FH_NO_ICE
    is_narrow: bool = False
    """True if only packets that every path carries are to be sent there (paths/narrow.py), by either end."""
    local: Address | None = None
    """From which address of ours, where ICE has found that, or others are to see it; else as our routes say."""

    @property
    def is_stream(self) -> bool:
        """True for TLS over TCP."""
        return self.link_type is OverlayLinkType.TLS_TCP_FH_NO_ICE

    def __str__(self) -> str:
        return f"{self.address} ({'TLS' if self.is_stream else 'DTLS'})"


@frozen
class Parameters:
    """What one end says of itself in an Attach or AppAttach (6.5.1.1, 6.5.2.1), as far as it concerns the path.

    `role` says who is the TLS client: "active" is. Without ICE `ufrag` and `password` mean nothing.
    """

    ufrag: bytes
    password: bytes
    role: bytes
    candidates: tuple[IceCandidate, ...]
    component: int = COMPONENT

    @classmethod
    def of(cls, body: AttachReqAns | AppAttachReq | AppAttachAns) -> Parameters:
        """Those in the body of a message."""
        return cls(body.ufrag, body.password, body.role, body.candidates)

    @property
    def has_ice(self) -> bool:
        """True if it has candidates, and they are such as are checked."""
        return any(candidate.overlay_link is OverlayLinkType.DTLS_UDP_SR for candidate in self.candidates)

    @property
    def hosts(self) -> frozenset[str]:
        """Where this end is, as far as its candidates say so in a way that we know."""
        found = (candidate.addr_port.host_port for candidate in self.candidates)
        return frozenset(host_port[0] for host_port in found if host_port is not None)

    def takes_back(self, before: Parameters) -> bool:
        """True if this end is somewhere outside, and nowhere any more that it has said before."""
        if self._outside:
            return self._outside.isdisjoint(before._outside)
        return not before._outside and not before._has_outside_port and self._has_outside_port

    @property
    def _outside(self) -> frozenset[tuple[str, int] | None]:
        others = (each for each in self.candidates if each.type is not CandType.HOST)
        # What streams are opened from says nothing of where datagrams come.
        beside = OverlayLinkType.TLS_TCP_FH
        return frozenset(each.addr_port.host_port for each in others if each.overlay_link is not beside)

    @property
    def _has_outside_port(self) -> bool:
        """True if it has said as whom others see a port from which it opens streams."""
        streams = (each for each in self.candidates if each.overlay_link is OverlayLinkType.TLS_TCP_FH)
        return any(each.type is not CandType.HOST for each in streams)


NOTHING_SAID: Final = Parameters(b"", b"", b"", ())


@frozen
class Session:
    """One attempt to have a path, and what it is for.

    `candidates` are what we try, best first; none where it is the other end that dials. `local` and `remote` are both
    ends' words in one Attach; of a bootstrap node, which is dialled without one, they are empty. `asked_by` is the user
    who asked us to, empty where it is our own wish. `peer` is the other end, None as long as nobody knows. `took_s` is
    how long an Attach of ours was answered after; 0 where we have answered, or it was sent more than once.
    """

    purpose: Purpose
    candidates: tuple[Candidate, ...]
    local: Parameters = NOTHING_SAID
    remote: Parameters = NOTHING_SAID
    asked_by: str = ""
    peer: NodeId | None = None
    took_s: float = 0.0

    @property
    def is_simultaneous(self) -> bool:
        """True of one of which both ends open a stream at once."""
        first = self.candidates[0] if self.candidates and self.purpose is not Purpose.RELAY else None
        return first is not None and first.is_stream and first.local is not None


class Refusal(NamedTuple):
    """Why an attempt has no connection by one of its candidates."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt came to nothing, or its connection did before it was secured: what it was for, why, with ICE which
    pairs were tried, and how each ended; and without it the same of each candidate.
    """

    session: Session
    context: object
    reason: str
    tried: tuple[PairReport, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkOver:
    """The path of a link that is up is lost, why, and how each pair stood."""

    link: int
    reason: str
    tried: tuple[PairReport, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkDoubted:
    """A link that is up does not answer, and no other pair of addresses works: a new Attach may help."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class LinkHolds:
    """The path of a link that was in doubt answers: what waits on it may go at once."""

    link: int


@dataclass(frozen=True, slots=True)
class LinkMoved:
    """A link goes by other addresses now: what waits on it may go at once."""

    link: int
    remote: Address


LinkNews = LinkOver | LinkDoubted | LinkHolds | LinkMoved


@dataclass(frozen=True, slots=True)
class Lapsed:
    """An offer had been given up, and its connection will not come any more either."""

    session: Session
    context: object


# What the core wants its driver to do


@dataclass(frozen=True, slots=True)
class Open(Effect):
    """Connect with a candidate, as the TLS or DTLS client; the handshake waits for `Secure`.

    `Opened` follows as soon as the other end has answered at all, `Zoned`, or `handle_link_down` with why not. With a
    `protocol` (ALPN, RFC 7301) it is no link that is wanted; who does not take that is no good. `is_server`: both ends
    open this stream, and we are the TLS server.
    """

    path: int
    candidate: Candidate
    protocol: bytes = b""
    is_server: bool = False


@dataclass(frozen=True, slots=True)
class Secure(Effect):
    """This connection is the path: let the handshake go on. `handle_link_up` follows, or `handle_link_down`."""

    path: int


@dataclass(frozen=True, slots=True)
class HangUp(Effect):
    """Close a connection once what was written is out, or stop making it; the core has forgotten it already."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptNarrow(Effect):
    """Whether connections that are accepted from now on carry only packets that every path carries.

    The other end of a way that we know to be narrow may dial us, and not know it; nothing at accept tells who it is.
    """

    is_narrow: bool


@dataclass(frozen=True, slots=True)
class CutIfSilent(Effect):
    """Give up this stream, which is up, if the other end does not acknowledge what was written to it for so long.

    (RFC 5482: TCP's user timeout.) `Stalled` and `handle_link_down` follow then.
    """

    link: int
    silent_s: float


@frozen
class SendStun(Effect):
    """Send this from a port of links: of this address of ours, or of the one from which `remote` would be dialled."""

    local: Address | None
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class MoveLink(Effect):
    """The datagrams of this link go between these two addresses from now on."""

    link: int
    local: Address
    remote: Address


ROUTER_SPARE: Final = 0
"""The number of the further port from which the router is asked; those of surveys begin at 1."""


@frozen
class SendSpare(Effect):
    """Send this from a further UDP port of the address from which `remote` is reached; `spare` is its number.

    It is opened by the first of these: `SpareOpened` follows, and `SpareArrived` for what comes there.
    """

    spare: int
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseSpare(Effect):
    """Nobody needs this port any more; no matter if it is not open."""

    spare: int


@dataclass(frozen=True, slots=True)
class AskStream(Effect):
    """Connect there, send this, and tell what comes until the end, in `StreamAnswered`."""

    remote: Address
    request: bytes


# What the driver tells


@dataclass(frozen=True, slots=True)
class Listening:
    """Where this machine accepts connections; an unspecified host stands for all of its addresses."""

    addresses: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Opened:
    """The other end of a connection that we make has answered. `local` is our end."""

    path: int
    local: Address


@dataclass(frozen=True, slots=True)
class Zoned:
    """The wire knows no zones: the link-local address of this candidate may be any of these."""

    path: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Somebody has connected, and has yet to say who."""

    path: int
    remote: Address


@dataclass(frozen=True, slots=True)
class Stalled:
    """The other end had answered, and then nothing went on: large packets may vanish. The connection was given up.

    Its handshake stood still, or it was up and `CutIfSilent`. `path` is one that we dialled, or the odd number of an
    accepted connection. `handle_link_down` follows, unless nothing was told of it before.
    """

    path: int
    remote: Address
    link_type: OverlayLinkType


@dataclass(frozen=True, slots=True)
class Returned:
    """The other end of a direct link, which is up, did not take this message, nor any that follows."""

    path: int
    message: bytes


@frozen
class StunArrived:
    """A datagram that is STUN, or of a channel of TURN, by its first byte has come to a port of links."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class SpareOpened:
    """A further port is there."""

    spare: int
    local: Address


@dataclass(frozen=True, slots=True)
class SpareArrived:
    """A datagram has come to a further port."""

    spare: int
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class RouterFound:
    """By which router this machine reaches the others now; None if there is none."""

    router: HomeRouter | None


@dataclass(frozen=True, slots=True)
class StreamAnswered:
    """What has come until the end; nothing, if nobody was there, or it took too long, or was too much."""

    request: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class SendMulticast(Effect):
    """Send to everybody who listens on each link of this machine; what answers to it is `LanArrived`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SendOnLan(Effect):
    """Send to one whose question to all has come."""

    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class LanArrived:
    """A datagram to all who listen on a link (`is_to_all`), or one to where a question of ours came from."""

    remote: Address
    data: bytes
    is_to_all: bool


@dataclass(frozen=True, slots=True)
class FindByName(Effect):
    """Where does DNS say that nodes of the overlay of this name can be dialled? `FoundByName` follows."""

    name: str


@dataclass(frozen=True, slots=True)
class FoundByName:
    """There, the preferred first; or nowhere, and why."""

    addresses: tuple[Address, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MdnsWanted(Effect):
    """Peers of the overlay with this mark are sought by mDNS, from now on, and as a member we are shown there.

    `FoundByMdns` follows whenever somebody has come or gone.
    """

    mark: str
    node: NodeId
    port: int
    is_member: bool


@dataclass(frozen=True, slots=True)
class MdnsPeer:
    """A peer as it is shown there; who it is, nobody has proved."""

    node: NodeId
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class FoundByMdns:
    """All that are there now; or why there can be none."""

    peers: tuple[MdnsPeer, ...]
    problem: str = ""


PathEvent = (
    FoundByName
    | FoundByMdns
    | LanArrived
    | RouterFound
    | StreamAnswered
    | SpareOpened
    | SpareArrived
    | StunArrived
    | Listening
    | Opened
    | Zoned
    | Accepted
    | Stalled
    | Returned
    | RelayEvent
)
