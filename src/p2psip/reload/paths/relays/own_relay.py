"""The relay that a node is for other members (RFC 8656; RFC 6940 section 9), at its ports of links.

Whoever is a member has a credential of it, which it has asked for over the overlay. What comes to a port of links and
is TURN's by its method, or a channel's, is for the relay.
"""

from __future__ import annotations

import random

from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.relays.relay_values import AtRelayPort, OpenRelayPort, RelayPortOpened
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.stun.credentials import StunCredential, StunGate
from p2psip.turn.limits import TurnLimits
from p2psip.turn.member_credentials import MemberCredentials
from p2psip.turn.methods import is_of_turn
from p2psip.turn.server import TurnService
from p2psip.turn.values import Flow, OpenRelay, RelaySettings, Transmit

SECRET_BYTES = 32


class OwnRelay:
    """One node's relay. Its length is the number of its allocations."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess: from it are secrets and ports."""
        self._rng = rng
        self._members: MemberCredentials | None = None
        self._service: TurnService | None = None
        self._settings: RelaySettings | None = None
        self._timers: Timers[str] = Timers(queue)
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
        self._settings = settings
        self._members = MemberCredentials(self._rng.randbytes(SECRET_BYTES))
        gate = StunGate(settings.realm, self._members, self._rng.randbytes(SECRET_BYTES))
        self._service = TurnService(settings, limits, gate, self._rng, now)

    def withdraw(self, now: float) -> None:
        """Relay no more: all allocations are over."""
        if self._service is not None:
            self._service.close()
            self._collect(self._service)
        self._service = self._members = self._settings = None
        self._timers.cancel("relay")

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

    def pass_on(self, event: StunArrived | AtRelayPort, now: float) -> None:
        """A datagram that is relayed, or dropped: no timer is another after it."""
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
        for _ in self._timers.pop_due(now):
            assert self._service is not None, "who relays no more has no timers"
            self._service.handle_timeout(now)
            self._collect(self._service)

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
                case Transmit(flow, data):
                    self._effects.append(SendStun(flow.local, flow.remote, data))
                case Ask(token, OpenRelay(relayed)):
                    self._effects.append(OpenRelayPort(token, relayed))
                case _:
                    self._effects.append(effect)
