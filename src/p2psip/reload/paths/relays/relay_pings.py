"""How far away relays are, and whether they are there: a Binding request now and then (RFC 8489 section 3)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES, CheckAnswer, read
from p2psip.reload.paths.values import SendStun
from p2psip.stun.message import BINDING, MessageClass, StunMessage

RTO_S: Final = 0.5
TRANSMISSIONS_MAX: Final = 4
"""One that has not answered after 7.5 s is gone, or as good as gone."""

_TRANSACTION = slice(8, 8 + TRANSACTION_BYTES)


@dataclass(frozen=True, slots=True)
class RelayPinged:
    """What came of a ping: how long the last question took, None if there was no answer."""

    relay: Address
    rtt_s: float | None


@dataclass(slots=True)
class _Ping:
    relay: Address
    request: bytes
    sent_at: float
    transmissions: int = 1


class RelayPings:
    """Those of one node."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._rng = rng
        self._pings: dict[bytes, _Ping] = {}
        self._timers: Timers[bytes] = Timers(queue)
        self._results: list[RelayPinged] = []
        self._effects: list[Effect] = []

    def __contains__(self, message: bytes) -> bool:
        """True of a STUN message that answers one of them, or pretends to."""
        return message[_TRANSACTION] in self._pings

    def ping(self, relay: Address, now: float) -> None:
        """Ask a relay; its `RelayPinged` is one of `results` then. One at a time to each."""
        if any(ping.relay == relay for ping in self._pings.values()):
            return
        number = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, number, has_fingerprint=True).encode()
        self._pings[number] = _Ping(relay, request, now)
        self._send(number, now)

    def results(self) -> list[RelayPinged]:
        """What has come of pings since the last call."""
        results, self._results = self._results, []
        return results

    def handle_answer(self, remote: Address, data: bytes, now: float) -> None:
        """What a relay says; from elsewhere nobody is believed."""
        number, answer = data[_TRANSACTION], read(data)
        ping = self._pings[number]
        if remote == ping.relay and isinstance(answer, CheckAnswer):
            self._end(number, now - ping.sent_at)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for number in self._timers.pop_due(now):
            ping = self._pings[number]
            if ping.transmissions == TRANSMISSIONS_MAX:
                self._end(number, None)
            else:
                ping.transmissions += 1
                ping.sent_at = now
                self._send(number, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _send(self, number: bytes, now: float) -> None:
        ping = self._pings[number]
        self._effects.append(SendStun(None, ping.relay, ping.request))
        self._timers.set(number, now + RTO_S * (1 << ping.transmissions - 1), "no word of a relay")

    def _end(self, number: bytes, rtt_s: float | None) -> None:
        self._timers.cancel(number)
        self._results.append(RelayPinged(self._pings.pop(number).relay, rtt_s))
