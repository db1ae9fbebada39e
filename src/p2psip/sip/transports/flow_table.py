"""The connections of one SIP element, and how many may be: of all, of one host, of one user.

For one more than there may be, one of those has to go over which nobody has proved to have a password.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from p2psip.base.address import Address, source_key
from p2psip.sip.transports.framing import Framing
from p2psip.sip.transports.hops import FlowTransport


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds on what remotes can make grow, and how long they may take."""

    flows: int = 1024
    """So many with phones and strangers, and as many with other peers."""
    flows_per_host: int = 256
    flows_per_user: int = 32
    """So many of one user, who has ten phones at most; those are the more that nobody needs."""
    queued_bytes: int = 1_000_000
    connect_s: float = 8.0
    switch_s: float = 1.0
    """The same, where it is only for the length of a request: then that goes over UDP."""
    switched_idle_s: float = 240.0
    """So long such a connection may be idle: longer than a phone rings (timer C)."""
    deaf_s: float = 600.0
    """So long nobody is asked again who does not accept connections, and at so many addresses."""
    deaf: int = 1024
    message_s: float = 30.0
    """A connection must bring its first message, and each message its end, in this time."""
    idle_s: float = 7200.0
    ping_s: float = 30.0
    """Who answers pings gets one after so long a silence: NATs and HTTP proxies forget after more."""
    pong_s: float = 30.0
    """So long it has to answer it."""


@dataclass(slots=True)
class SipFlow:
    """One connection."""

    number: int
    transport: FlowTransport
    remote: Address
    peer: str | None
    is_open: bool
    active_at: float
    framing: Framing
    local_host: str | None = None
    """Where the other end reaches us; None until it is connected."""
    message_began_at: float | None = None
    """When the message under way began; for an accepted connection first of all when it was accepted."""
    queue: list[bytes] = field(default_factory=list)
    connect_s: float = 0.0
    """How long it may take to be opened."""
    idle_s: float | None = None
    """How long it may be silent, where its phone has promised keep-alives, or it serves the length of requests."""
    pinged_at: float | None = None
    """Since when it owes the answer to a ping."""
    pushed_out: str = ""
    """Why it makes room for others; empty if it does not."""
    user: str | None = None
    """Who has proved himself over it last."""
    is_beside: bool = False
    """True if the other end is in our own network."""
    lacks: str = ""
    """What other than SIP does not go to the other end, in words."""
    name: str = ""
    """The domain that the other end has proved to be, where we have asked for one."""


class FlowTable:
    """Connections by number, and by who is at their other end."""

    def __init__(self, limits: TransportLimits) -> None:
        self._limits = limits
        self._flows: dict[int, SipFlow] = {}
        self._to: dict[tuple[FlowTransport, Address, str], int] = {}
        self._of_peer: dict[str, dict[int, None]] = {}
        """The newest last."""
        self._of_host: Counter[str] = Counter()
        """Without those with peers, which strangers do not crowd out."""
        self._strangers: dict[int, str] = {}
        """Whose connections nobody has proved himself over, the eldest first: each with its source."""
        self._of_user: dict[str, dict[int, None]] = {}
        """Over which a user has proved himself, the eldest first."""

    def __contains__(self, number: object) -> bool:
        return number in self._flows

    def __getitem__(self, number: int) -> SipFlow:
        return self._flows[number]

    def __iter__(self) -> Iterator[SipFlow]:
        return iter(self._flows.values())

    def get(self, number: int) -> SipFlow | None:
        """The connection of this number, if there is one."""
        return self._flows.get(number)

    def to(self, transport: FlowTransport, remote: Address, name: str = "") -> int | None:
        """The newest connection with this address, over which the other end has proved to be `name`."""
        return self._to.get((transport, remote, name))

    def proved_at(self, transport: FlowTransport, remote: Address) -> int | None:
        """A connection with this address over which the other end has proved to be any domain."""
        named = (one for one in self if one.name and (one.transport, one.remote) == (transport, remote))
        return next((one.number for one in named), None)

    def of_peer(self, peer: str) -> int | None:
        """The newest connection with an overlay peer."""
        return next(reversed(self._of_peer.get(peer, {})), None)

    def add(self, flow: SipFlow, *, is_stranger: bool = False) -> None:
        """One more: a stranger has yet to prove himself over it."""
        self._flows[flow.number] = flow
        if flow.peer is not None:
            self._of_peer.setdefault(flow.peer, {})[flow.number] = None
            return
        self._of_host[flow.remote.host] += 1
        self._to[(flow.transport, flow.remote, flow.name)] = flow.number
        if is_stranger:
            self._strangers[flow.number] = source_key(flow.remote.host)

    def forget(self, flow: SipFlow) -> None:
        """It is gone."""
        del self._flows[flow.number]
        self._uncount(flow)
        if self.to(flow.transport, flow.remote, flow.name) == flow.number:
            del self._to[(flow.transport, flow.remote, flow.name)]
        if flow.peer is not None:
            self._of_peer[flow.peer].pop(flow.number, None)
            if not self._of_peer[flow.peer]:
                del self._of_peer[flow.peer]

    def is_with(self, flow: SipFlow, peer: str) -> None:
        """An overlay peer has proved to be at its other end."""
        self._uncount(flow)
        flow.peer = peer
        self._of_peer.setdefault(peer, {})[flow.number] = None

    def push_out(self, flow: SipFlow, reason: str) -> None:
        """It is about to go, and does not count any more."""
        self._uncount(flow)
        flow.pushed_out = reason

    # Room for one more

    def in_the_way(self, host: str, peer: str | None) -> SipFlow | None:
        """The connection that is to go where all are full, so that there may be one more; None if none may go."""
        if peer is not None:
            return None
        if self._of_host[host] >= self._limits.flows_per_host:
            return next((self._flows[one] for one in self._strangers if self._flows[one].remote.host == host), None)
        crowd = Counter(self._strangers.values()).most_common(1)
        return next((self._flows[one] for one, source in self._strangers.items() if source == crowd[0][0]), None)

    def is_full(self, host: str, peer: str | None) -> bool:
        """True if there may not be one more with this host, or peer, beside those that there are."""
        others = self._of_host.total()
        if peer is not None:
            return len(self._flows) - others >= self._limits.flows
        return self._of_host[host] >= self._limits.flows_per_host or others >= self._limits.flows

    def prove(self, flow: SipFlow, user: str) -> None:
        """`user` has shown over it that he knows his password: it makes room for nobody else's."""
        self._strangers.pop(flow.number, None)
        if flow.user != user and not flow.pushed_out:
            self._disown(flow)
            flow.user = user
            self._of_user.setdefault(user, {})[flow.number] = None

    def crowd_of(self, user: str) -> tuple[int, ...]:
        """The connections of a user who has too many."""
        flows = tuple(self._of_user.get(user, ()))
        return flows if len(flows) > self._limits.flows_per_user else ()

    def too_many_of(self, user: str, needed: Collection[int]) -> list[SipFlow]:
        """As many as a user has too many: the eldest that are not needed, else the newest."""
        flows = self.crowd_of(user)
        idle = [flow for flow in flows if flow not in needed]
        ordered = [*idle, *(flow for flow in reversed(flows) if flow in needed)]
        return [self._flows[number] for number in ordered[: -self._limits.flows_per_user]]

    def _uncount(self, flow: SipFlow) -> None:
        self._strangers.pop(flow.number, None)
        self._disown(flow)
        host = flow.remote.host
        if flow.peer is None and not flow.pushed_out:
            self._of_host[host] -= 1
            if not self._of_host[host]:
                del self._of_host[host]

    def _disown(self, flow: SipFlow) -> None:
        if flow.user is not None:
            of_user = self._of_user[flow.user]
            del of_user[flow.number]
            if not of_user:
                del self._of_user[flow.user]
            flow.user = None
