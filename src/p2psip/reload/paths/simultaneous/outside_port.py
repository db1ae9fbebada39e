"""As whom others see the port of ours from which streams are opened (RFC 6544 section 5.2, RFC 8489 section 6.2.2).

Theory of operation. Who needs a relay is behind a NAT. The relay, a member that others reach, is asked over a stream,
by a Binding request, as whom it sees the port that this comes from. The stream stays, so that the port stays mapped,
and the question is asked again now and then. Whatever else is opened from that port is seen by others at the same
address, where the NAT's mapping does not depend on who they are. When the stream is gone, or a link that was opened
from the port, another port takes its place: a NAT may remember for a while what has ended.

    a relay lends --> (dialled) --> asked --the answer--> known --stream over, link over--> (another port)
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.candidate_addresses import Mapped, is_of_one_host
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES, CheckAnswer, read
from p2psip.reload.paths.relays.relay_values import WriteStream
from p2psip.reload.paths.values import HangUp, Session
from p2psip.stun.framing import StunFraming
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage

PORTS: Final = range(49152, 65536)
"""RFC 6335 section 6: those that nobody is assigned."""

ASK_S: Final = 45.0
"""How often it is asked: sooner than it takes a stream for one that nobody needs (own_relay.STREAM_LOOK_S)."""

AGAIN_S: Final = 30.0
"""How long after a stream could not be had another relay is asked."""

APART_S: Final = 5.0
"""No port takes the place of another sooner: whoever ends what is opened from it has us dial a relay anew."""

ANSWER_BYTES_MAX: Final = 548


@dataclass(frozen=True, slots=True)
class AskOutside:
    """A relay is to be dialled from a port of ours, over a stream, to be asked as whom it sees that."""

    local: Address
    relay: Address


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
    """Those of one node: one for each of its hosts for which relays lend something."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess."""
        self._rng = rng
        self._relays: dict[str, list[Address]] = {}
        """By host of ours, those that lend it something; who is to be asked next is the first."""
        self._ports: dict[str, _Port] = {}
        self._links: dict[int, Session] = {}
        """Those that were opened from such a port, and what for."""
        self._timers: Timers[str] = Timers(queue)
        self._wanted: list[AskOutside] = []
        self._effects: list[Effect] = []

    def mapped(self) -> list[Mapped]:
        """The ports that may be said in an Attach: as whom they are seen."""
        ports = ((each.mapped, each.asked) for each in self._ports.values())
        return [Mapped(mapped, asked.local, asked.relay) for mapped, asked in ports if mapped is not None]

    # What the node knows

    def relay_lends(self, host: str, relay: Address, now: float) -> None:
        """A relay lends something to a host of ours: it can be asked from there."""
        relays = self._relays.setdefault(host, [])
        if relay not in relays:
            relays.append(relay)
        if host not in self._ports and host not in self._timers:
            self._timers.set(host, now, "as whom is a port for streams seen")

    def relay_gone(self, host: str, relay: Address, now: float) -> None:
        """It lends nothing any more; no matter if it never did."""
        if relay in (relays := self._relays.get(host, [])):
            relays.remove(relay)
        if (port := self._ports.get(host)) is not None and port.asked.relay == relay:
            self._give_up(host, now)
        if not relays:
            self._relays.pop(host, None)
            self._timers.cancel(host)

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
            self._give_up(asked.local.host, now + AGAIN_S)

    def stream_up(self, asked: AskOutside, number: int, now: float) -> None:
        """It is there, under this number."""
        if not self._is_current(asked):
            self._effects.append(HangUp(number, "it is not wanted any more"))
            return
        self._ports[asked.local.host].stream = number
        self._ask(asked.local.host, now)

    def stream_came(self, number: int, data: bytes, now: float) -> None:
        """Bytes have come over a stream; no matter if it is none of ours."""
        if (host := self._host_of(number)) is None:
            return
        port = self._ports[host]
        try:
            answers = [read(message) for message in port.framing.feed(data)]
        except NotStun:
            self._give_up(host, now + AGAIN_S)
            return
        for answer in answers:
            if isinstance(answer, CheckAnswer) and answer.transaction == port.question:
                if answer.mapped is None or not _is_possible(answer.mapped, host):
                    self._give_up(host, now + AGAIN_S)
                    return
                port.question, port.mapped = b"", answer.mapped

    def stream_down(self, number: int, now: float) -> None:
        """A stream has ended; no matter if it was none of ours."""
        if (host := self._host_of(number)) is not None:
            self._ports[host].stream = None
            self._give_up(host, now + AGAIN_S)

    def link_over(self, link: int) -> None:
        """A link has ended; no matter if it was not opened from one of these ports."""
        session = self._links.pop(link, None)
        local = None if session is None else session.candidates[0].local
        if local is not None and (port := self._ports.get(local.host)) is not None and port.asked.local == local:
            self._give_up(local.host, 0.0)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Have a port, or ask again; a relay that has not answered until then is no good."""
        for host in self._timers.pop_due(now):
            if (port := self._ports.get(host)) is None:
                self._begin(host, now)
            elif port.question:
                self._give_up(host, now)
            else:
                self._ask(host, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _begin(self, host: str, now: float) -> None:
        relays = self._relays[host]
        relay = relays.pop(0)
        relays.append(relay)
        asked = AskOutside(Address(host, self._rng.choice(PORTS)), relay)
        self._ports[host] = _Port(asked, now)
        self._wanted.append(asked)

    def _ask(self, host: str, now: float) -> None:
        port = self._ports[host]
        assert port.stream is not None, "it is asked over that"
        port.question = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, port.question, has_fingerprint=True).encode()
        self._effects.append(WriteStream(port.stream, request))
        self._timers.set(host, now + ASK_S * self._rng.uniform(0.8, 1.2), "keep a port for streams mapped")

    def _give_up(self, host: str, again_at: float) -> None:
        port = self._ports.pop(host)
        if port.stream is not None:
            self._effects.append(HangUp(port.stream, "another port takes its place"))
        self._timers.set(host, max(again_at, port.since + APART_S), "another port for streams")

    def _is_current(self, asked: AskOutside) -> bool:
        port = self._ports.get(asked.local.host)
        return port is not None and port.asked == asked

    def _host_of(self, number: int) -> str | None:
        return next((host for host, port in self._ports.items() if port.stream == number), None)


def _is_possible(mapped: Address, host: str) -> bool:
    """True if a port of this host of ours may be seen as that: a relay may say anything."""
    return is_of_one_host(mapped.host) and mapped.port > 0 and (":" in mapped.host) is (":" in host)
