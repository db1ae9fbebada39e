"""A node and a relay, wired to each other without a network: over datagrams, or over one stream."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.relays.relay_values import (
    DialRelay,
    OpenRelayPort,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    RelayTaken,
    WriteStream,
)
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.stun.credentials import StunCredential
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import RelaySettings

RELAY = Address("203.0.113.1", 6084)
BASE, SEEN = Address("10.0.0.2", 6084), Address("198.51.100.7", 41000)
PEER = Address("198.51.100.9", 5000)
SETTINGS = RelaySettings("club", (RELAY.host,), frozenset((RELAY.host,)), frozenset((RELAY,)), frozenset((RELAY,)))
OURS, THEIRS = 2, 3
"""The number of the stream, if there is one, at the client and at the relay."""


class Wire:
    """A node behind a NAT, and a relay; `rest` is what there is to do for their drivers."""

    def __init__(self, limits: TurnLimits | None = None) -> None:
        self.now = 0.0
        self.relay = OwnRelay(random.Random(1))
        self.limits = limits or TurnLimits()
        self.relay.offer(SETTINGS, self.limits, 0.0)
        self.lent = RelayedAddresses(random.Random(2))
        self.rest: list[Effect] = []
        self.is_dead = False

    def credential(self, member: str = "alice") -> StunCredential:
        """One of the relay."""
        issued = self.relay.issue(member, 3600, self.now)
        assert issued is not None
        return issued

    def take(self) -> Address:
        """Have it lend an address."""
        self.lent.allocate(BASE, RELAY, self.credential(), self.now)
        return self.taken()

    def taken(self) -> Address:
        """What it has lent then."""
        self.carry()
        [taken] = [effect for effect in self.rest if isinstance(effect, RelayTaken)]
        [relayed] = taken.relayed
        return relayed

    def carry(self) -> None:
        """Until neither has anything to say."""
        while effects := [*self.lent.drain(), *self.relay.drain()]:
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendStun(_, remote, data) if remote == RELAY:
                if not self.is_dead:
                    self.relay.handle(StunArrived(RELAY, SEEN, data), self.now)
            case SendStun(local, remote, data):
                assert (local, remote) == (RELAY, SEEN)
                self.lent.handle(StunArrived(BASE, RELAY, data), self.now)
            case OpenRelayPort(token):
                self.relay.handle_port(RelayPortOpened(token, True), self.now)
            case _:
                self.rest.append(effect)

    def pass_time(self, until: float) -> None:
        """All timers up to then."""
        while True:
            deadlines = [each.next_deadline() for each in (self.lent, self.relay)]
            when = min((each.at for each in deadlines if each is not None), default=until + 1)
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            self.lent.handle_timeout(self.now)
            self.relay.handle_timeout(self.now)
            self.carry()

    def done(self) -> list[Effect]:
        """What there was to do since the last call."""
        rest, self.rest = self.rest, []
        return rest


class Pipe(Wire):
    """The same where datagrams do not pass, and there is a stream between."""

    def take(self) -> Address:
        """Have it lend an address."""
        self.lent.allocate(BASE, RELAY, self.credential(), self.now, over_stream=True)
        assert self.lent.drain() == [DialRelay(BASE, RELAY)], "nothing is said before there is a stream"
        self.relay.stream_up(RelayStreamUp(THEIRS, RELAY, SEEN), self.now)
        assert self.lent.stream_up(DialRelay(BASE, RELAY), OURS, self.now)
        return self.taken()

    def _do(self, effect: Effect) -> None:
        match effect:
            case WriteStream(number, data) if number == OURS:
                # However a stream cuts it.
                self.relay.handle_stream(RelayStreamCame(THEIRS, data[:5]), self.now)
                self.relay.handle_stream(RelayStreamCame(THEIRS, data[5:]), self.now)
            case WriteStream(number, data):
                assert number == THEIRS
                self.lent.stream_came(OURS, data, self.now)
            case _:
                super()._do(effect)
