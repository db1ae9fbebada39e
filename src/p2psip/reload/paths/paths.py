"""The core that makes paths: in come sessions, what the driver tells of connections, and time; out go connections to
open and to secure, and which attempt has its path or why it has none. A session that was offered to another waits in
`offers` for the connection that the other end makes; one that was asked of us is dialled.

A connection that is up is the node's, under the number that it had here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.dialling import Dialling
from p2psip.reload.paths.narrow import NarrowWays
from p2psip.reload.paths.offers import Offers
from p2psip.reload.paths.values import (
    Accepted,
    AcceptNarrow,
    Ended,
    Lapsed,
    Listening,
    Opened,
    PathEvent,
    Session,
    Stalled,
    Zoned,
)
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType


class Paths:
    """The attempts of one node, and what it remembers of ways. Its length is the number of attempts under way."""

    def __init__(self, queue: TimerQueue | None = None, permitted: Sequence[OverlayLinkType] = NO_ICE) -> None:
        """`queue` is that of the core that this is part of; `permitted` are the links that the overlay permits."""
        self.whereabouts = Whereabouts(permitted)
        self.offers = Offers(self.whereabouts, queue)
        self._dialling = Dialling(queue)
        self._narrow = NarrowWays()
        self._timers: Timers[str] = Timers(queue)
        self._is_accepting_narrow = False

    def __len__(self) -> int:
        return len(self._dialling)

    def contexts(self) -> tuple[object, ...]:
        """What the attempts under way are for, the oldest first."""
        return self._dialling.contexts()

    def has_room_for(self, session: Session) -> bool:
        """True if this may be tried now, within the limits on what we, and others, have us open."""
        return self._dialling.has_room_for(session)

    def connect(self, session: Session, context: object, now: float) -> int | None:
        """Try to have a path; `context` comes back from `up`, or in `Ended`. The number that its connection will have,
        unless another than the first candidate answers. None if there is nothing to try, or no room.
        """
        if not session.candidates or not self._dialling.has_room_for(session):
            return None
        known = replace(session, candidates=self._narrow.known(session.candidates))
        return self._dialling.connect(known, context, now)

    # From the driver

    def handle(self, event: PathEvent, now: float) -> Ended | None:
        """Something has happened to a connection that is no link yet."""
        match event:
            case Listening(addresses):
                self._dialling.listening(addresses)
            case Opened(path, local):
                return self._ended(self._dialling.opened(path, local))
            case Zoned(path, addresses):
                self._dialling.zoned(path, addresses, now)
            case Accepted(path, remote):
                self._dialling.accepted(path, remote)
            case Stalled():
                self._stalled(event, now)
        return None

    def _stalled(self, stalled: Stalled, now: float) -> None:
        """A handshake stood still. It is dialled again with small packets, and then by the other kind, if any."""
        session, host = self._dialling.being_secured(stalled.path), stalled.remote.host
        if session is None:
            return
        was_narrow = any(candidate.is_narrow for candidate in session.candidates if candidate.address.host == host)
        if was_narrow or not self.is_narrow(host):
            self.large_vanish(host, stalled.link_type, now)
        self._dialling.stalled(stalled.path, self._narrow.known(session.candidates), now)

    def up(self, path: int) -> object | None:
        """A connection has shown its certificates: what it was made for; None for one that was accepted."""
        return self._dialling.up(path)

    def down(self, path: int, reason: str) -> Ended | None:
        """A connection could not be made, or ended before it was up. `Ended` if it was the last of its attempt."""
        return self._ended(self._dialling.down(path, reason))

    # Ways

    def large_vanish(self, host: str, kind: OverlayLinkType, now: float) -> None:
        """Large packets seem to vanish on the way to this host, over connections of this kind."""
        self._narrow.failed(host, kind, now)
        self._await_widening()

    def large_arrive(self, host: str) -> None:
        """The size of packets is not why a link fell silent."""
        self._narrow.widen(host)
        self._await_widening()

    def is_narrow(self, host: str) -> bool:
        """True if large packets are not known to arrive at this host."""
        return self._narrow.is_narrow(host)

    def stream_silent(self, host: str, now: float) -> None:
        """A connection of an application fell silent, which is made over TLS."""
        if not self.is_narrow(host):
            self.large_vanish(host, OverlayLinkType.TLS_TCP_FH_NO_ICE, now)

    def _await_widening(self) -> None:
        deadline = self._narrow.next_deadline()
        if deadline is None:
            self._timers.cancel("narrow")
        else:
            self._timers.set("narrow", deadline.at, deadline.reason)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._dialling.next_deadline(), self.offers.next_deadline(), self._timers.next_deadline()))

    def handle_timeout(self, now: float) -> list[Ended | Lapsed]:
        """Try the next candidates; give up on who does not answer, or come; forget what was found out long ago."""
        for _ in self._timers.pop_due(now):
            self._narrow.handle_timeout(now)
            self._await_widening()
        ended = self._dialling.handle_timeout(now)
        for each in ended:
            self._ended(each)
        return [*ended, *self.offers.handle_timeout(now)]

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects = self._dialling.drain()
        if self._narrow.is_any_narrow is not self._is_accepting_narrow:
            self._is_accepting_narrow = self._narrow.is_any_narrow
            effects.append(AcceptNarrow(self._is_accepting_narrow))
        return effects

    def _ended(self, ended: Ended | None) -> Ended | None:
        for candidate in ended.session.candidates if ended is not None else ():
            if candidate.is_narrow:
                # Small packets do not arrive there either.
                self.large_arrive(candidate.address.host)
        return ended
