"""Sessions that we have offered to others; without ICE it is they who make the connection (RFC 6940 section 6.5.1.11).

Theory of operation. Who sends an Attach or AppAttach is the TLS server: it waits for the answer and for the connection,
which may come in either order. Where an answer has come, the connection has its time.

     made --answered--> awaited --LINK_WAIT_S--> Ended
       |                   |
       '-------------------+--- its connection is up, or nobody wants it: withdrawn

Nothing in a connection says which offer it is for. So one that was given up may be left to linger: its connection may
come all the same, and is not to be taken for that of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.values import NOTHING_SAID, Ended, Lapsed, Parameters, Purpose, Session

LINK_WAIT_S = 15.0
"""How long after the answer the connection may take."""

LATE_S = 15.0
"""How long after an offer was given up its connection may still come."""

DID_NOT_COME = "the connection did not come"


@dataclass(frozen=True, slots=True)
class _Offer:
    session: Session
    context: object


class Offers:
    """The offers of one node, at most one of each purpose to each other node: by whom, and what for."""

    def __init__(self, whereabouts: Whereabouts, punching: Punching, queue: TimerQueue | None = None) -> None:
        self._whereabouts = whereabouts
        self._punching = punching
        self._made: dict[tuple[Purpose, NodeId], _Offer] = {}
        self._lingering: dict[tuple[Purpose, NodeId], _Offer] = {}
        """No more of them than may be under way, as an attempt takes as long as we remember it."""
        self._timers: Timers[tuple[Purpose, NodeId]] = Timers(queue)
        self._late_timers: Timers[tuple[Purpose, NodeId]] = Timers(queue)

    def count(self, purpose: Purpose) -> int:
        """How many of this purpose are under way."""
        return sum(each is purpose for each, _ in self._made)

    def under_way(self, purpose: Purpose) -> tuple[object, ...]:
        """What is kept with each of them."""
        return tuple(offer.context for (each, _), offer in self._made.items() if each is purpose)

    def session(self, purpose: Purpose, peer: NodeId | None) -> Session:
        """What is to be offered to `peer`, or to whoever is at a place."""
        return Session(purpose, (), self._whereabouts.offering(purpose), peer=peer)

    def make(self, session: Session, context: object) -> None:
        """This is on its way to its peer; `context` is what the caller keeps with it."""
        self._made[_key(session)] = _Offer(session, context)

    def answered(self, session: Session, peer: NodeId, remote: Parameters, context: object, now: float) -> None:
        """`peer` has taken an offer, of which it may not have been known that it is for this peer: it will connect."""
        taken = replace(session, peer=peer, remote=remote)
        self.make(taken, context)
        self._timers.set(_key(taken), now + LINK_WAIT_S, "connection awaited")
        if remote.has_ice and self._punching.has(taken):
            # 6.5.1.2: "When a peer receives an Attach response, it SHOULD parse the response and begin its own ICE
            # checks."
            self._punching.begin(taken, None, now, offer=context)

    def of(self, session: Session) -> object | None:
        """What is kept with one that was answered; None if another has its place."""
        assert session.peer is not None, "it was answered"
        offer = self._made.get(_key(session))
        return None if offer is None or offer.session.local != session.local else offer.context

    def remote(self, purpose: Purpose, peer: NodeId) -> Parameters:
        """What `peer` has said of itself in its answer, if that is here."""
        offer = self._made.get((purpose, peer))
        return NOTHING_SAID if offer is None else offer.session.remote

    def lost(self, session: Session) -> list[Ended]:
        """No path was found for one that was answered; nothing if another has its place."""
        assert session.peer is not None, "it was answered"
        offer = self._made.get(_key(session))
        if offer is None or offer.session.local != session.local:
            return []
        self.withdraw(session.purpose, session.peer)
        return [self._punching.over(offer.session, offer.context)]

    def is_checked(self, session: Session) -> bool:
        """True of one with ICE: its connection does not come unless we check as well, when it is answered."""
        return self._punching.has(session)

    def withdraw(self, purpose: Purpose, peer: NodeId) -> object | None:
        """Its connection is up, or nobody wants it any more; what was kept with it, if there was one."""
        self._timers.cancel((purpose, peer))
        offer = self._made.pop((purpose, peer), None)
        return None if offer is None else offer.context

    def get(self, purpose: Purpose, peer: NodeId) -> object | None:
        """What is kept with the offer to this node, if there is one."""
        offer = self._made.get((purpose, peer))
        return None if offer is None else offer.context

    def is_awaited(self, purpose: Purpose, peer: NodeId) -> bool:
        """True if we asked `peer` for a connection of this purpose."""
        return (purpose, peer) in self._made

    def expected_from(self, host: str) -> tuple[object, ...]:
        """What is kept with the offers whose connection may come from there, as their answers say."""
        return tuple(offer.context for offer in self._made.values() if host in offer.session.remote.hosts)

    def linger(self, session: Session, context: object, now: float) -> None:
        """This was given up, though its connection may still come. `Lapsed` follows, unless it does."""
        self._lingering[_key(session)] = _Offer(session, context)
        self._late_timers.set(_key(session), now + LATE_S, "a connection that was given up may come")

    def lingering(self, purpose: Purpose, peer: NodeId) -> object | None:
        """What was kept with an offer to this node that lingers."""
        offer = self._lingering.get((purpose, peer))
        return None if offer is None else offer.context

    def lapse(self, purpose: Purpose, peer: NodeId) -> None:
        """A connection has come for which there is no offer: it is that of the one that lingered, if any."""
        self._late_timers.cancel((purpose, peer))
        self._lingering.pop((purpose, peer), None)

    def purpose_of(self, peers: Sequence[NodeId], local: Address, *, is_stream: bool = True) -> Purpose:
        """What a connection that was accepted is for: its other end answers an offer of ours, at an address that we
        gave with it. Whom we did not ask wants to be linked, except where no links are made.
        """
        apart = Purpose.SIP if is_stream else Purpose.CALLS
        for purpose in (Purpose.RELOAD, apart):
            keys = [(purpose, peer) for peer in peers]
            if self._whereabouts.are_at(purpose, local) and any(
                key in self._made or key in self._lingering for key in keys
            ):
                return purpose
        are_links_made = self._whereabouts.are_at(Purpose.RELOAD, local)
        return apart if self._whereabouts.are_at(apart, local) and not are_links_made else Purpose.RELOAD

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._late_timers.next_deadline()))

    def handle_timeout(self, now: float) -> list[Ended | Lapsed]:
        """Give up on connections that did not come."""
        over: list[Ended | Lapsed] = []
        for key in self._late_timers.pop_due(now):
            lapsed = self._lingering.pop(key)
            over.append(Lapsed(lapsed.session, lapsed.context))
        for key in self._timers.pop_due(now):
            offer = self._made.pop(key)
            over.append(self._punching.over(offer.session, offer.context, DID_NOT_COME))
        return over


def _key(session: Session) -> tuple[Purpose, NodeId]:
    assert session.peer is not None, "whoever is at a place is not known"
    return session.purpose, session.peer
