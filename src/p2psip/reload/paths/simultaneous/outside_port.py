"""As whom others see the port of ours from which streams are opened (RFC 6544 section 5.2, RFC 8489 section 6.2.2).

Theory of operation. Who is behind a NAT asks a member that others reach, over a stream, by a Binding request, as whom
it sees the port that this comes from. The stream stays, so that the port stays mapped, and the question is asked again
now and then. Whatever else is opened from that port is seen by others at the same address, where the NAT's mapping does
not depend on who they are. When the stream is gone, or a link that was opened from the port, another port takes its
place: a NAT may remember for a while what has ended.

    whom to ask --> (dialled) --> asked --the answer--> known --stream over, link over--> (another port)

Relays that lend us something are asked. Where none has after a while, any member is that we have reached over a stream;
then calls have a port as well, as they have nothing else where datagrams do not pass. It is another one: between two
ports there is one connection, which may be a link's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.candidate_addresses import Mapped, is_of_one_host
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES, CheckAnswer, read
from p2psip.reload.paths.relays.relay_values import WriteStream
from p2psip.reload.paths.values import HangUp, Purpose, Session
from p2psip.stun.framing import StunFraming
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage

PORTS: Final = range(49152, 65536)
"""RFC 6335 section 6: those that nobody is assigned."""

ASK_S: Final = 45.0
"""How often it is asked: sooner than it takes a stream for one that nobody needs (own_relay.STREAM_LOOK_S)."""

AGAIN_S: Final = 30.0
"""How long after a stream could not be had another member is asked."""

APART_S: Final = 5.0
"""No port takes the place of another sooner: whoever ends what is opened from it has us dial a member anew."""

MEMBERS_AFTER_S: Final = 8.0
"""How long relays have to lend something before other members are asked."""

MEMBERS_SOON_S: Final = 2.0
"""The same where datagrams do not pass, and what Attaches say until then leads nowhere."""

ANSWER_BYTES_MAX: Final = 548


class OutsideUse(NamedTuple):
    """What a port is for: a host of ours, and links or calls."""

    host: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class AskOutside:
    """A member is to be dialled from a port of ours, over a stream, to be asked as whom it sees that."""

    use: OutsideUse
    local: Address
    server: Address


@dataclass(slots=True)
class _Port:
    asked: AskOutside
    since: float
    stream: int | None = None
    question: bytes = b""
    """The transaction that is not answered yet."""
    mapped: Address | None = None
    framing: StunFraming = field(default_factory=lambda: StunFraming(ANSWER_BYTES_MAX))


class OutsidePorts:
    """Those of one node: for each of its hosts one for links, and where no relay lends anything one for calls."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess."""
        self._rng = rng
        self._relays: dict[str, list[Address]] = {}
        """By host of ours, those that lend it something; who is to be asked next is the first."""
        self._members: dict[str, list[Address]] = {}
        """The same of members that are asked where no relay lends anything."""
        self._ports: dict[OutsideUse, _Port] = {}
        self._links: dict[int, Session] = {}
        """Those that were opened from such a port, and what for."""
        self._timers: Timers[OutsideUse] = Timers(queue)
        self._wanted: list[AskOutside] = []
        self._effects: list[Effect] = []

    def mapped(self, purpose: Purpose = Purpose.RELOAD) -> list[Mapped]:
        """The ports that may be said in an Attach, or in an AppAttach for calls: as whom they are seen."""
        ports = ((use, each.mapped, each.asked) for use, each in self._ports.items())
        return [
            Mapped(mapped, asked.local, asked.server)
            for use, mapped, asked in ports
            if mapped is not None and use.purpose is purpose
        ]

    # What the node knows

    def relay_lends(self, host: str, relay: Address, now: float) -> None:
        """A relay lends something to a host of ours: it can be asked from there, and calls go over it."""
        is_first, relays = host not in self._relays, self._relays.setdefault(host, [])
        if relay not in relays:
            relays.append(relay)
        self._end(OutsideUse(host, Purpose.CALLS))
        links = OutsideUse(host, Purpose.RELOAD)
        if links not in self._ports and (is_first or links not in self._timers):
            self._timers.set(links, now, "as whom is a port for streams seen")

    def relay_gone(self, host: str, relay: Address, now: float) -> None:
        """It lends nothing any more; no matter if it never did."""
        links = OutsideUse(host, Purpose.RELOAD)
        if relay in (relays := self._relays.get(host, [])):
            relays.remove(relay)
        if (port := self._ports.get(links)) is not None and port.asked.server == relay:
            self._give_up(links, now)
        if not relays:
            self._relays.pop(host, None)
            self._await_members(host, now + MEMBERS_AFTER_S)

    def use_members(
        self, hosts: Sequence[str], members: Sequence[Address], now: float, after_s: float = MEMBERS_AFTER_S
    ) -> None:
        """These hosts of ours are behind a NAT, and these members are reached over streams: they can be asked, after so
        long, in which relays may lend something.
        """
        before, self._members = self._members, {}
        for host in hosts:
            known = [each for each in before.get(host, ()) if each in members]
            if own := [*known, *(each for each in members if each not in known)]:
                self._members[host] = own
        for host in before | self._members:
            if host not in self._relays:
                self._await_members(host, now + after_s)

    def _await_members(self, host: str, at: float) -> None:
        """No relay lends anything to a host: members are asked from there then, or nobody is."""
        for use in (OutsideUse(host, Purpose.RELOAD), OutsideUse(host, Purpose.CALLS)):
            if host not in self._members:
                self._end(use)
            elif use not in self._ports and use not in self._timers:
                self._timers.set(use, at, "no relay says as whom a port for streams is seen")

    def linked(self, link: int, session: Session) -> None:
        """A link was opened from a port, for this."""
        self._links[link] = session

    def session_of(self, link: int) -> Session | None:
        """What a link was opened for; None if it was not from such a port."""
        return self._links.get(link)

    # What becomes of streams

    def take(self) -> list[AskOutside]:
        """What is to be dialled since the last call."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def not_dialled(self, asked: AskOutside, now: float) -> None:
        """There is no such stream."""
        if self._is_current(asked):
            self._give_up(asked.use, now + AGAIN_S)

    def stream_up(self, asked: AskOutside, number: int, now: float) -> None:
        """It is there, under this number."""
        if not self._is_current(asked):
            self._effects.append(HangUp(number, "it is not wanted any more"))
            return
        self._ports[asked.use].stream = number
        self._ask(asked.use, now)

    def stream_came(self, number: int, data: bytes, now: float) -> None:
        """Bytes have come over a stream; no matter if it is none of ours."""
        if (use := self._use_of(number)) is None:
            return
        port = self._ports[use]
        try:
            answers = [read(message) for message in port.framing.feed(data)]
        except NotStun:
            self._give_up(use, now + AGAIN_S)
            return
        for answer in answers:
            if isinstance(answer, CheckAnswer) and answer.transaction == port.question:
                if answer.mapped is None or not _is_possible(answer.mapped, use.host):
                    self._give_up(use, now + AGAIN_S)
                    return
                port.question, port.mapped = b"", answer.mapped

    def stream_down(self, number: int, now: float) -> None:
        """A stream has ended; no matter if it was none of ours."""
        if (use := self._use_of(number)) is not None:
            self._ports[use].stream = None
            self._give_up(use, now + AGAIN_S)

    def link_over(self, link: int) -> None:
        """A link has ended; no matter if it was not opened from one of these ports."""
        session = self._links.pop(link, None)
        local = None if session is None else session.candidates[0].local
        for use in [use for use, port in self._ports.items() if port.asked.local == local]:
            self._give_up(use, 0.0)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Have a port, or ask again; who has not answered until then is no good."""
        for use in self._timers.pop_due(now):
            if (port := self._ports.get(use)) is None:
                self._begin(use, now)
            elif port.question:
                self._give_up(use, now)
            else:
                self._ask(use, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _servers(self, use: OutsideUse) -> list[Address]:
        """Who can be asked."""
        if use.host in self._relays:
            return self._relays[use.host] if use.purpose is Purpose.RELOAD else []
        return self._members.get(use.host, [])

    def _begin(self, use: OutsideUse, now: float) -> None:
        servers = self._servers(use)
        server = servers.pop(0)
        servers.append(server)
        asked = AskOutside(use, Address(use.host, self._rng.choice(PORTS)), server)
        self._ports[use] = _Port(asked, now)
        self._wanted.append(asked)

    def _ask(self, use: OutsideUse, now: float) -> None:
        port = self._ports[use]
        assert port.stream is not None, "it is asked over that"
        port.question = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, port.question, has_fingerprint=True).encode()
        self._effects.append(WriteStream(port.stream, request))
        self._timers.set(use, now + ASK_S * self._rng.uniform(0.8, 1.2), "keep a port for streams mapped")

    def _give_up(self, use: OutsideUse, again_at: float) -> None:
        since = self._ports[use].since
        self._end(use)
        if self._servers(use):
            self._timers.set(use, max(again_at, since + APART_S), "another port for streams")

    def _end(self, use: OutsideUse) -> None:
        """Have this port no more; no matter if there is none."""
        self._timers.cancel(use)
        port = self._ports.pop(use, None)
        if port is not None and port.stream is not None:
            self._effects.append(HangUp(port.stream, "another port takes its place"))

    def _is_current(self, asked: AskOutside) -> bool:
        port = self._ports.get(asked.use)
        return port is not None and port.asked == asked

    def _use_of(self, number: int) -> OutsideUse | None:
        return next((use for use, port in self._ports.items() if port.stream == number), None)


def _is_possible(mapped: Address, host: str) -> bool:
    """True if a port of this host of ours may be seen as that: a member may say anything."""
    return is_of_one_host(mapped.host) and mapped.port > 0 and (":" in mapped.host) is (":" in host)
