"""How far away relays are, and whether they are there: a Binding request now and then (RFC 8489 section 3).

Over datagrams where these pass. Where they do not, over a stream that is there for this one question: how long the
answer takes is how far away the relay is, and the handshakes before it do not count.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES, CheckAnswer, read
from p2psip.reload.paths.relays.relay_values import DialRelay, WriteStream
from p2psip.reload.paths.values import HangUp, SendStun
from p2psip.stun.framing import StunFraming
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage

RTO_S: Final = 0.5
TRANSMISSIONS_MAX: Final = 4
"""One that has not answered after 7.5 s is gone, or as good as gone."""

STREAM_ANSWER_S: Final = 5.0
"""How long one may take to answer over a stream that is up."""

ANSWER_BYTES_MAX: Final = 1024

_TRANSACTION = slice(8, 8 + TRANSACTION_BYTES)


@dataclass(frozen=True, slots=True)
class RelayPinged:
    """What came of a ping: how long the last question took, None if there was no answer."""

    relay: Address
    rtt_s: float | None
    over_stream: bool = False


@dataclass(slots=True)
class _Ping:
    relay: Address
    request: bytes
    sent_at: float
    over_stream: bool
    transmissions: int = 1
    stream: int | None = None
    """The number of the connection, once that is up."""
    framing: StunFraming = field(default_factory=lambda: StunFraming(ANSWER_BYTES_MAX))


class RelayPings:
    """Those of one node."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._rng = rng
        self._pings: dict[bytes, _Ping] = {}
        self._by_stream: dict[int, bytes] = {}
        self._timers: Timers[bytes] = Timers(queue)
        self._results: list[RelayPinged] = []
        self._dials: list[DialRelay] = []
        self._effects: list[Effect] = []

    def __contains__(self, message: bytes) -> bool:
        """True of a STUN message that answers one of them, or pretends to."""
        return message[_TRANSACTION] in self._pings

    def ping(self, relay: Address, now: float, base: Address | None = None) -> None:
        """Ask a relay, over a stream if a port of ours is named; its `RelayPinged` is one of `results` then. One at a
        time to each.
        """
        if any(ping.relay == relay for ping in self._pings.values()):
            return
        number = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, number, has_fingerprint=True).encode()
        self._pings[number] = _Ping(relay, request, now, base is not None)
        if base is None:
            self._send(number, now)
        else:
            self._dials.append(DialRelay(base, relay, is_ping=True))

    def results(self) -> list[RelayPinged]:
        """What has come of pings since the last call."""
        results, self._results = self._results, []
        return results

    def dials(self) -> list[DialRelay]:
        """The streams that are wanted since the last call."""
        dials, self._dials = self._dials, []
        return dials

    def handle_answer(self, remote: Address, data: bytes, now: float) -> None:
        """What a relay says; from elsewhere nobody is believed."""
        number, answer = data[_TRANSACTION], read(data)
        ping = self._pings[number]
        if remote == ping.relay and not ping.over_stream and isinstance(answer, CheckAnswer):
            self._end(number, now - ping.sent_at)

    # Over streams

    def stream_up(self, relay: Address, stream: int, now: float) -> None:
        """The stream with a relay is there, under this number."""
        number = self._over_stream(relay)
        ping = self._pings[number]
        ping.stream, ping.sent_at = stream, now
        self._by_stream[stream] = number
        self._effects.append(WriteStream(stream, ping.request))
        self._timers.set(number, now + STREAM_ANSWER_S, "no word of a relay")

    def not_dialled(self, relay: Address) -> None:
        """There is none."""
        self._end(self._over_stream(relay), None)

    def stream_came(self, stream: int, data: bytes, now: float) -> bool:
        """Bytes of a relay; False if nothing was asked over this stream."""
        if (number := self._by_stream.get(stream)) is None:
            return False
        ping = self._pings[number]
        try:
            answers = [each for each in ping.framing.feed(data) if each[_TRANSACTION] == number]
        except NotStun:
            self._end(number, None)
        else:
            if any(isinstance(read(each), CheckAnswer) for each in answers):
                self._end(number, now - ping.sent_at)
        return True

    def stream_down(self, stream: int) -> None:
        """A stream has ended; no matter if it was none of these."""
        if (number := self._by_stream.pop(stream, None)) is not None:
            self._pings[number].stream = None
            self._end(number, None)

    def _over_stream(self, relay: Address) -> bytes:
        return next(number for number, ping in self._pings.items() if ping.relay == relay and ping.over_stream)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for number in self._timers.pop_due(now):
            ping = self._pings[number]
            if ping.over_stream or ping.transmissions == TRANSMISSIONS_MAX:
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
        ping = self._pings.pop(number)
        if ping.stream is not None:
            del self._by_stream[ping.stream]
            self._effects.append(HangUp(ping.stream, "it has said how far away it is"))
        self._results.append(RelayPinged(ping.relay, rtt_s, ping.over_stream))
