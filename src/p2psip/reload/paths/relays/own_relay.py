"""The relay that a node is for other members (RFC 8656; RFC 6940 section 9), at its ports of links.

Whoever is a member has a credential of it, which it has asked for over the overlay. What comes to a port of links and
is TURN's by its method, or a channel's, is for the relay; so is a stream that says to be for it (ALPN), or begins with
a request in clear. A stream on which nothing is lent has a little time to change that, and stays as long as something
comes on it now and then: a member may want to know as whom it is seen over TCP (paths/simultaneous/outside_port.py).
That every node says over a stream, as over datagrams (RFC 6940 section 6.5.1.4), be it a relay or not.
"""

from __future__ import annotations

import random
from typing import Final

from p2psip.base.address import source_key
from p2psip.base.allowance import oldest_of_most
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    OpenRelayPort,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    WriteStream,
)
from p2psip.reload.paths.values import HangUp, SendStun, StunArrived
from p2psip.stun.binding import answer_binding
from p2psip.stun.credentials import StunCredential, StunGate
from p2psip.stun.framing import StunFraming
from p2psip.stun.message import NotStun
from p2psip.turn.limits import TurnLimits
from p2psip.turn.member_credentials import MemberCredentials
from p2psip.turn.methods import is_of_turn
from p2psip.turn.server import TurnService
from p2psip.turn.values import CloseStream, Flow, OpenRelay, RelaySettings, Transmit

SECRET_BYTES = 32

QUESTION_BYTES_MAX: Final = 548
"""Of one who asks as whom it is seen."""

STREAM_S: Final = 10.0
"""How long a stream may be there on which nothing is lent, and nothing has come."""

PLAIN_STREAMS_MAX: Final = 64
"""Streams of others where no relay runs, who may ask as whom they are seen and for nothing else."""

STREAM_LOOK_S: Final = 60.0
"""How often is looked whether something still is, or does."""


class OwnRelay:
    """One node's relay. Its length is the number of its allocations."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess: from it are secrets and ports."""
        self._rng = rng
        self._members: MemberCredentials | None = None
        self._service: TurnService | None = None
        self._settings: RelaySettings | None = None
        self._streams_max = PLAIN_STREAMS_MAX
        self._framings: dict[int, StunFraming] = {}
        """Of streams where no relay runs."""
        self.streams: dict[int, Flow] = {}
        """Streams of clients by the number of their connection, the oldest first."""
        self._numbers: dict[Flow, int] = {}
        self._heard: set[int] = set()
        """Streams on which something has come since it was looked last."""
        self._timers: Timers[str | int] = Timers(queue)
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return 0 if self._service is None else len(self._service)

    @property
    def is_offered(self) -> bool:
        """True while it relays."""
        return self._service is not None

    # Commands

    def offer(self, settings: RelaySettings, limits: TurnLimits, now: float) -> None:
        """Relay from now on. Where it stands otherwise than before, all begins anew."""
        if settings == self._settings:
            return
        self.withdraw(now)
        self._settings, self._streams_max = settings, limits.streams
        self._members = MemberCredentials(self._rng.randbytes(SECRET_BYTES))
        gate = StunGate(settings.realm, self._members, self._rng.randbytes(SECRET_BYTES))
        self._service = TurnService(settings, limits, gate, self._rng, now)

    def withdraw(self, now: float) -> None:
        """Relay no more: all allocations are over."""
        if self._service is not None:
            self._service.close()
            self._collect(self._service)
        self._service = self._members = self._settings = None
        self._streams_max = PLAIN_STREAMS_MAX
        self._timers.clear()
        self._heard.clear()
        for number in list(self.streams):
            self._hang_up(number, "no relay runs here any more")

    def issue(self, member: str, lifetime_s: int, now: float) -> StunCredential | None:
        """What a member is to say to the relay; None where there is none."""
        return None if self._members is None else self._members.issue(member, lifetime_s, now)

    # From the driver

    def handle(self, arrived: StunArrived, now: float) -> bool:
        """True if a datagram was for the relay."""
        if self._service is None or not is_of_turn(arrived.data):
            return False
        self._service.handle_data(Flow(arrived.local, arrived.remote), arrived.data, now)
        self._collect(self._service)
        return True

    def handle_port(self, event: RelayPortOpened | AtRelayPort, now: float) -> None:
        """One of its ports is open, or is not, or something has come to it."""
        if self._service is None:
            return
        if isinstance(event, AtRelayPort):
            self.pass_on(event, now)
        else:
            self._service.handle_answer(event.token, event.is_open, now)
            self._collect(self._service)

    def stream_up(self, event: RelayStreamUp, now: float) -> None:
        """Somebody has connected for the relay."""
        number, flow = event.path, Flow(event.local, event.remote, is_stream=True)
        if flow in self._numbers:
            self._effects.append(HangUp(number, "there is such a stream already"))
            return
        if len(self.streams) >= self._streams_max:
            idle = {each: source_key(of.remote.host) for each, of in self.streams.items() if not self._lends_to(of)}
            if not idle:
                self._effects.append(HangUp(number, "too many streams of clients"))
                return
            self._hang_up(oldest_of_most(idle), "too many streams of clients")
        self.streams[number], self._numbers[flow] = flow, number
        if self._service is None:
            self._framings[number] = StunFraming(QUESTION_BYTES_MAX)
        self._timers.set(number, now + STREAM_S, "a stream on which nothing is lent")

    def handle_stream(self, event: RelayStreamCame, now: float) -> None:
        """Bytes of a client."""
        flow = self.streams.get(event.path)
        if flow is None:
            return
        self._heard.add(event.path)
        if self._service is None:
            self._answer(event.path, flow, event.data)
        else:
            self._service.handle_data(flow, event.data, now)
            self._collect(self._service)

    def _answer(self, number: int, flow: Flow, data: bytes) -> None:
        """No relay runs here: who asks is told as whom it is seen."""
        try:
            asked = self._framings[number].feed(data)
        except NotStun as error:
            self._hang_up(number, str(error))
            return
        answers = [answer_binding(each, flow.remote) for each in asked]
        self._effects += [WriteStream(number, answer) for answer in answers if answer is not None]
        if None in answers:
            self._hang_up(number, "no Binding request")

    def stream_down(self, number: int) -> None:
        """A stream has ended; no matter if it was none of a client."""
        if (flow := self.streams.pop(number, None)) is None:
            return
        self._heard.discard(number)
        self._framings.pop(number, None)
        del self._numbers[flow]
        self._timers.cancel(number)
        if self._service is not None:
            self._service.handle_flow_down(flow)
            self._collect(self._service)

    def _hang_up(self, number: int, reason: str) -> None:
        self._effects.append(HangUp(number, reason))
        self.stream_down(number)

    def _lends_to(self, flow: Flow) -> bool:
        return self._service is not None and self._service.lends_to(flow)

    def pass_on(self, event: StunArrived | AtRelayPort | RelayStreamCame, now: float) -> None:
        """A datagram that is relayed, or dropped: no timer is another after it. Or what comes over a stream."""
        if isinstance(event, RelayStreamCame):
            self.handle_stream(event, now)
            return
        if self._service is None:
            return
        if isinstance(event, AtRelayPort):
            self._service.handle_relayed(event.port, event.remote, event.data, now)
        else:
            self._service.handle_data(Flow(event.local, event.remote), event.data, now)
        self._take(self._service)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """What has been lent for so long is over."""
        for what in self._timers.pop_due(now):
            if what == "relay":
                assert self._service is not None, "who relays no more has no such timer"
                self._service.handle_timeout(now)
                self._collect(self._service)
            elif isinstance(what, int) and (what in self._heard or self._lends_to(self.streams[what])):
                self._heard.discard(what)
                self._timers.set(what, now + STREAM_LOOK_S, "is something lent on a stream")
            elif isinstance(what, int):
                self._hang_up(what, "nothing is lent on it")

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _collect(self, service: TurnService) -> None:
        self._take(service)
        if (deadline := service.next_deadline()) is not None:
            self._timers.set("relay", deadline.at, deadline.reason)
        else:
            self._timers.cancel("relay")

    def _take(self, service: TurnService) -> None:
        for effect in service.drain():
            match effect:
                case Transmit(flow, data) if flow.is_stream:
                    self._effects.append(WriteStream(self._numbers[flow], data))
                case CloseStream(flow, reason):
                    self._hang_up(self._numbers[flow], reason)
                case Transmit(flow, data):
                    self._effects.append(SendStun(flow.local, flow.remote, data))
                case Ask(token, OpenRelay(relayed)):
                    self._effects.append(OpenRelayPort(token, relayed))
                case _:
                    self._effects.append(effect)
