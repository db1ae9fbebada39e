"""The control protocol of rtpengine, "NG": a cookie, a space, and a bencoded dictionary in a datagram each way.

Theory of operation. A request goes out until its answer has come, which has the same cookie; an engine that gets a
cookie twice gives the same answer again, and does nothing. Who does not answer one request in time is taken for silent:
all others that are open have failed with it, and further ones fail at once, until a ping is answered.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from p2psip.base.address import Address
from p2psip.base.effects import Effect, Note
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.media.relay.rtpengine.bencode import MalformedBencode, Sent, Value, decode, encode
from p2psip.media.relay.rtpengine.limits import EngineLimits

C = TypeVar("C")

COOKIE_BITS = 64
"""As many as nobody guesses who does not see them."""

GOOD = frozenset({"ok", "pong"})

_PING = ""
"""The timer of the next one; the others have the cookies of their requests."""


class EngineState(enum.Enum):
    """Whether an engine is there."""

    UNTRIED = "has not been heard yet"
    ANSWERS = "answers"
    SILENT = "does not answer"


@dataclass(frozen=True, slots=True)
class SendToEngine(Effect):
    """Send this datagram to the engine."""

    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request: what the engine said, or in `refusal` why it does not do it, in its own words."""

    fields: Mapping[str, Value]
    refusal: str = ""


@dataclass(slots=True)
class _Open(Generic[C]):
    """A request without an answer; None is the context of a ping."""

    datagram: bytes
    context: C | None
    sends: int = 0


class EngineControl(Generic[C]):
    """One engine, as one who has it work sees it; `C` is what he knows a request by."""

    def __init__(
        self, remote: Address, rng: random.Random, limits: EngineLimits, queue: TimerQueue | None = None
    ) -> None:
        self._remote = remote
        self.state = EngineState.UNTRIED
        self.dropped = 0
        """Datagrams that are no answer to anything that is open."""
        self._rng = rng
        self._limits = limits
        self._open: dict[str, _Open[C]] = {}
        self._timers: Timers[str] = Timers(queue)
        self._replies: list[tuple[C, Reply]] = []
        self._effects: list[Effect] = []
        self._timers.set(_PING, 0.0, "is the engine there")

    def __str__(self) -> str:
        return f"rtpengine at {self._remote}"

    @property
    def is_answering(self) -> bool:
        """True if there is an engine to be asked."""
        return self.state is EngineState.ANSWERS

    def request(self, fields: Mapping[str, Sent], context: C, now: float) -> None:
        """Ask it for something; what came of it is among `replies`."""
        if not self.is_answering:
            self._replies.append((context, Reply({}, f"it {self.state.value}")))
        elif len(self._open) >= self._limits.requests:
            self._replies.append((context, Reply({}, f"{len(self._open)} requests are open already")))
        else:
            self._send(fields, context, now)

    def handle_datagram(self, data: bytes, now: float) -> None:
        """Something came from the engine."""
        first, _, body = data.partition(b" ")
        cookie = first.decode(errors="replace")
        try:
            fields = decode(body)
        except MalformedBencode:
            self.dropped += 1
            return
        if cookie not in self._open or not isinstance(fields, dict):
            self.dropped += 1
            return
        request = self._open.pop(cookie)
        self._timers.cancel(cookie)
        if not self.is_answering:
            self._change(EngineState.ANSWERS)
        self._timers.set(_PING, now + self._limits.ping_s, "is the engine there")
        if request.context is not None:
            self._replies.append((request.context, Reply(fields, _refusal(fields))))

    def handle_timeout(self, now: float) -> None:
        """Send again what has no answer, and give up what has had none for too long."""
        for cookie in self._timers.pop_due(now):
            request = self._open.get(cookie)
            if request is None:
                if cookie == _PING:
                    self._send({"command": "ping"}, None, now)
            elif request.sends < len(self._limits.waits_s):
                self._transmit(cookie, request, now)
            else:
                self._give_up(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def replies(self) -> list[tuple[C, Reply]]:
        """What became of requests since the last call."""
        replies, self._replies = self._replies, []
        return replies

    def drain(self) -> list[Effect]:
        """What is to be sent, and told."""
        effects, self._effects = self._effects, []
        return effects

    def _send(self, fields: Mapping[str, Sent], context: C | None, now: float) -> None:
        cookie = f"{self._rng.getrandbits(COOKIE_BITS):016x}"
        request = _Open(cookie.encode() + b" " + encode(fields), context)
        self._open[cookie] = request
        self._transmit(cookie, request, now)

    def _transmit(self, cookie: str, request: _Open[C], now: float) -> None:
        self._effects.append(SendToEngine(self._remote, request.datagram))
        self._timers.set(cookie, now + self._limits.waits_s[request.sends], "the engine has not answered")
        request.sends += 1

    def _give_up(self, now: float) -> None:
        if self.state is not EngineState.SILENT:
            self._change(EngineState.SILENT)
        for cookie, request in self._open.items():
            self._timers.cancel(cookie)
            if request.context is not None:
                self._replies.append((request.context, Reply({}, f"it {self.state.value}")))
        self._open.clear()
        self._timers.set(_PING, now + self._limits.ping_s, "is the engine there")

    def _change(self, state: EngineState) -> None:
        self.state = state
        if state is EngineState.ANSWERS:
            facts = {"engine": str(self), "means": "calls between phones of this peer go through it"}
            self._effects.append(Note("media engine answers", facts))
        else:
            facts = {"engine": str(self), "means": "new calls go through the peer itself"}
            self._effects.append(Note("media engine does not answer", facts, is_warning=True))


def _refusal(fields: Mapping[str, Value]) -> str:
    """What the engine says of why it does not do something; empty if it does."""
    result = fields.get("result", "it says no result")
    if isinstance(result, str) and result in GOOD:
        return ""
    return ": ".join(str(each) for each in (result, fields.get("error-reason") or fields.get("message")) if each)
