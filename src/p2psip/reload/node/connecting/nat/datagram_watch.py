"""Whether datagrams pass at all, between two surveys: a firewall may begin to drop UDP, or cease to, and no address is
another for that.

Theory of operation. Paths over datagrams that no longer answer may be anybody's fault. Where none of them answers, and
a member that is asked at its port over both takes a stream there and says nothing over datagrams, it is a box in
between. That is taken for so at once, as calls cannot wait for a survey, and a survey sees to it at once. As long as it
is so a member is asked over datagrams now and then; as soon as one answers they are used again.

     PASS --no path over datagrams answers--> SUSPECTED --a stream is up, and no word over datagrams--> CEASED
      ^ ^                                       |                                                        |
      | '------------ any word over datagrams --'                                                        |
      '----------------------------- an answer to a knock, or a survey ----------------------------------'
"""

from __future__ import annotations

import math
import random
from typing import Final

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.intents import Intents
from p2psip.reload.node.connecting.nat.surveying import Surveying
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Purpose, SendStun, StunArrived
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.stun.message import BINDING, MessageClass, StunMessage
from p2psip.turn.peers import Scope, scope_of

QUIET_S: Final = 0.4
"""How long there may be no word over datagrams when a path is told to be in doubt: that long ago all others were asked.
"""

AGAIN_S: Final = 8.0
"""How long after members were dialled over streams that may be done again: as long as a dial takes to fail."""

DISPROVED_S: Final = 2.0
"""The same where a word over datagrams has come meanwhile: it was another path, and no dial fails."""

DIALLED_MAX: Final = 3
"""So many members are dialled."""

KNOCK_S: Final = 10.0
"""How often, on average, a member is asked over datagrams where these do not pass: 76 bytes, IP and UDP counted."""

STREAM: Final = OverlayLinkType.TLS_TCP_FH_NO_ICE
_ANSWER: Final = b"\x01"
"""The first byte of answers of STUN and TURN, be they successes or errors (RFC 8489 section 5)."""

_TRANSACTION: Final = slice(8, 8 + TRANSACTION_BYTES)


class DatagramWatch:
    """Watches over that, for one node."""

    def __init__(
        self,
        exchange: Exchange,
        paths: Paths,
        intents: Intents,
        surveying: Surveying,
        rng: random.Random,
    ) -> None:
        """`rng` is one that nobody outside can guess: from it are transactions."""
        self._exchange = exchange
        self._paths = paths
        self._intents = intents
        self._surveying = surveying
        self._rng = rng
        self._heard_at = -math.inf
        self._suspected_at = -math.inf
        self._is_suspected = False
        self._asked = 0
        """How many members were dialled for that."""
        self._knock: tuple[bytes, Address] | None = None
        self._timers: Timers[str] = exchange.queue.scope()

    def doubted(self, now: float) -> None:
        """A path over datagrams, or a relay that is asked over them, does not answer."""
        is_quiet = now >= self._heard_at + QUIET_S
        if not self._can_tell or self._has_ceased or not is_quiet:
            return
        if now < (again_at := self._suspected_at + (AGAIN_S if self._is_suspected else DISPROVED_S)):
            # That was perhaps another path, and datagrams passed then: they may have ceased to since.
            self._timers.set("again", again_at, "does no path over datagrams answer still")
            return
        if not (members := self._outside()):
            # There is nobody who could say so.
            return
        self._is_suspected, self._suspected_at, self._asked = True, now, len(members)
        for node, address in members:
            # Each is asked over datagrams as well, as whoever is dialled is.
            self._intents.dial_over(node, address, (STREAM,), now)

    def stream_up(self, now: float) -> None:
        """A member that we have dialled has taken a stream."""
        if self._is_suspected and not self._has_ceased and now < self._suspected_at + AGAIN_S:
            self._is_suspected = False
            self._exchange.warn("datagrams do not pass any more", why="members answer over streams alone")
            self._paths.punching.forget_seen()
            self._surveying.datagrams_cease(self._asked, now)
            self._knock_later(now)

    def handle_stun(self, arrived: StunArrived, now: float) -> None:
        """A STUN message has come to a port of ours: an answer from outside, perhaps."""
        if arrived.data[:1] != _ANSWER or not self._is_outside(arrived.remote.host):
            return
        self._heard_at, self._is_suspected = now, False
        self._timers.cancel("again")
        is_to_knock = self._knock == (arrived.data[_TRANSACTION], arrived.remote)
        if self._has_ceased and (is_to_knock or self._paths.punching.has_asked(arrived.data)):
            # To a question of ours, that is: what a stranger sends says nothing.
            self._passes(now)

    def reach_changed(self, now: float) -> None:
        """A survey has found out."""
        if not self._has_ceased:
            self._timers.cancel("knock")
            self._knock = None
        elif "knock" not in self._timers:
            self._knock_later(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Does a member answer over datagrams again?"""
        for what in self._timers.pop_due(now):
            if what == "again":
                self.doubted(now)
                continue
            self._knock_later(now)
            if members := self._outside():
                self._ask(self._rng.choice(members)[1])

    def _ask(self, server: Address) -> None:
        number = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, number, has_fingerprint=True).encode()
        self._knock = number, server
        self._exchange.emit(SendStun(None, server, request))

    def _passes(self, now: float) -> None:
        """Links are made over datagrams as well, so that members say as whom they see us."""
        self._timers.cancel("knock")
        self._knock, self._heard_at = None, now
        self._exchange.note("datagrams pass again")
        for node, address in self._outside():
            self._intents.dial_over(node, address, (OverlayLinkType.DTLS_UDP_SR_NO_ICE,), now)
        self._surveying.datagrams_pass(now)

    def _knock_later(self, now: float) -> None:
        self._timers.set("knock", now + KNOCK_S * self._rng.uniform(0.5, 1.5), "do datagrams pass again")

    @property
    def _can_tell(self) -> bool:
        """True where links are made by ICE, and over streams as well."""
        return STREAM in self._paths.whereabouts.dialled_types(Purpose.RELOAD) and self._paths.whereabouts.has_ice

    @property
    def _has_ceased(self) -> bool:
        return self._surveying.reach.is_udp_blocked

    def _outside(self) -> list[tuple[NodeId, Address]]:
        """Some members that may be dialled from anywhere; what is on our side of a box says nothing of it."""
        found = self._surveying.open_ports()
        return self._rng.sample(found, min(DIALLED_MAX, len(found)))

    @staticmethod
    def _is_outside(host: str) -> bool:
        return scope_of(host) is Scope.GLOBAL
