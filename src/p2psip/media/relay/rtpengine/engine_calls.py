"""The calls that an rtpengine carries: its ports, what it is told of each phone, and what it counts.

Theory of operation. A call is prepared before a phone hears of it: its streams are offered to the engine as the caller
has described them, and answered with a callee of whom nothing is known but its host. So both phones' ports there are
known at once. Whatever either phone says later, the whole is told anew, offer and answer, and the engine keeps its
ports ("port latching"). So it need not be known here who offers and who answers, and descriptions pass at once.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from p2psip.base.address import Address as Remote
from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.media.negotiation import Address, Direction
from p2psip.media.relay.description import MediaLine
from p2psip.media.relay.rtpengine.bencode import Sent, Value
from p2psip.media.relay.rtpengine.engine_control import EngineControl, EngineState, Reply
from p2psip.media.relay.rtpengine.engine_sdp import named, told
from p2psip.media.relay.rtpengine.figures import Counted, counted
from p2psip.media.relay.rtpengine.limits import EngineLimits
from p2psip.media.sdp import MalformedSdp

TAGS = ("caller", "callee")

FLAGS = ("trust address", "port latching", "strict source", "endpoint-learning-heuristic")
"""Phones are told our ports once. Of what comes to these in the first three seconds, what is from the phone's own
address counts, whoever else sends; and after that what comes from there alone."""

NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class PrepareCall:
    """Have the engine carry these streams of a call between phones at these hosts. Answered by EngineCall, or None.

    `described` are all streams of the caller, `carried` the indices of those that are meant.
    """

    name: str
    hosts: tuple[str, str]
    described: tuple[MediaLine, ...]
    carried: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineCounted(Effect):
    """What has come of a call until now is in its `figures`; `is_last` if it is over."""

    call: EngineCall
    is_last: bool


@dataclass(slots=True, eq=False)
class EngineCall:
    """One call in an engine, by the ID that it has there."""

    engine: RtpEngine
    id: str
    wanted: PrepareCall
    lines: list[tuple[MediaLine, ...]]
    """What each phone has said last of the streams that are carried."""
    addresses: list[tuple[Address, ...]] = field(default_factory=lambda: [(), ()])
    """By phone: where the engine takes its packets, of each stream."""
    figures: Mapping[tuple[int, int], Counted] = field(default_factory=dict)
    """By phone, and index of the stream."""
    token: int | None = None
    """The question whose answer it will be."""
    is_told: bool = True
    """False while something has been said that the engine is not told yet."""
    is_telling: bool = False
    is_given_up: bool = False
    """True once the engine, which was there, did not do what it was told: it does not have the call any more."""

    @property
    def is_lost(self) -> bool:
        """True if nothing of it can go through the engine now."""
        return self.is_given_up or self.engine.state is not EngineState.ANSWERS

    def address(self, which: int, index: int) -> Address:
        """Where the engine takes the packets that one phone sends of a stream."""
        return self.addresses[which][self.wanted.carried.index(index)]


class _Step(enum.Enum):
    OFFER = "offer"
    ANSWER = "answer"
    QUERY = "query"
    LAST_QUERY = "last query"
    DELETE = "delete"


class _Asked(NamedTuple):
    step: _Step
    call: EngineCall


class RtpEngine:
    """All calls in one engine. Sans-I/O, as every core."""

    def __init__(
        self,
        remote: Remote,
        rng: random.Random,
        limits: EngineLimits | None = None,
        queue: TimerQueue | None = None,
    ) -> None:
        self._limits = limits or EngineLimits()
        self._rng = rng
        self._control: EngineControl[_Asked] = EngineControl(remote, rng, self._limits, queue)
        self._calls: dict[EngineCall, None] = {}
        self._timers: Timers[EngineCall] = Timers(queue)
        self._unclaimed: set[EngineCall] = set()
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __str__(self) -> str:
        return str(self._control)

    @property
    def state(self) -> EngineState:
        """Whether it is there."""
        return self._control.state

    def is_at(self, address: Address) -> bool:
        """True for one of the ports that it has given to our calls."""
        return any(address in addresses for call in self._calls for addresses in call.addresses)

    # Calls

    def prepare(self, token: int, wanted: PrepareCall, now: float) -> None:
        """`AskAnswered(token, EngineCall | None)` follows; the call begins with `claim`, or never."""
        lines = tuple([wanted.described[index] for index in wanted.carried])
        unknown = tuple([replace(each, rtp=None, rtcp=None, direction=Direction.SENDRECV) for each in lines])
        identity = f"{wanted.name[:NAME_MAX]};{self._rng.getrandbits(64):016x}"
        call = EngineCall(self, identity, wanted, [lines, unknown], token=token)
        self._calls[call] = None
        self._tell(call, now)
        self._take_replies(now)

    def claim(self, call: EngineCall) -> None:
        """It begins."""
        self._unclaimed.discard(call)
        self._timers.cancel(call)

    def describe(self, call: EngineCall, which: int, described: Sequence[MediaLine], now: float) -> None:
        """A description of one phone says how it wants its packets now."""
        lines = [described[index] for index in call.wanted.carried if index < len(described)]
        missing = [replace(each, is_refused=True) for each in call.lines[which][len(lines) :]]
        if call.lines[which] == (said := (*lines, *missing)):
            return
        call.lines[which] = said
        call.is_told = False
        self._tell_if_need_be(call, now)
        self._take_replies(now)

    def watch(self, call: EngineCall, now: float) -> None:
        """Packets flow: ask now and then what comes."""
        self._timers.set(call, now + self._limits.query_s, "what has come of a call in the engine")

    def end(self, call: EngineCall, now: float) -> None:
        """It is over: `EngineCounted` follows for the last time."""
        self._timers.cancel(call)
        if call.is_lost:
            self._effects.append(EngineCounted(call, is_last=True))
            self._forget(call, now)
        else:
            self._ask(_Step.LAST_QUERY, call, {}, now)
        self._take_replies(now)

    def forget(self, call: EngineCall, now: float) -> None:
        """It is over, and nobody wants to know what has come of it."""
        self._forget(call, now)
        self._take_replies(now)

    # Inputs

    def handle_datagram(self, data: bytes, now: float) -> None:
        """Something came from where the engine is."""
        self._control.handle_datagram(data, now)
        self._take_replies(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._control.handle_timeout(now)
        for call in self._timers.pop_due(now):
            if call in self._unclaimed:
                self._forget(call, now)
            else:
                self._ask(_Step.QUERY, call, {}, now)
        self._take_replies(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._control.next_deadline(), self._timers.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be sent, answered and told, in order."""
        effects, self._effects = [*self._control.drain(), *self._effects], []
        return effects

    # Inside

    def _ask(self, step: _Step, call: EngineCall, fields: Mapping[str, Sent], now: float) -> None:
        command = "query" if step is _Step.LAST_QUERY else step.value
        self._control.request({"command": command, "call-id": call.id, **fields}, _Asked(step, call), now)

    def _forget(self, call: EngineCall, now: float) -> None:
        self._timers.cancel(call)
        self._unclaimed.discard(call)
        del self._calls[call]
        self._ask(_Step.DELETE, call, {"delete delay": 0}, now)

    def _tell(self, call: EngineCall, now: float) -> None:
        call.is_telling, call.is_told = True, True
        self._describe(_Step.OFFER, call, now)

    def _tell_if_need_be(self, call: EngineCall, now: float) -> None:
        if not (call.is_told or call.is_telling or call.is_lost):
            self._tell(call, now)

    def _describe(self, step: _Step, call: EngineCall, now: float) -> None:
        which = 0 if step is _Step.OFFER else 1
        here, there = call.wanted.hosts[which], call.wanted.hosts[1 - which]
        fields: dict[str, Sent] = {
            "from-tag": TAGS[0],
            "sdp": told(call.lines[which], here),
            "flags": FLAGS,
            "ICE": "remove",
            "address family": "IP6" if ":" in there else "IP4",
        }
        if step is _Step.ANSWER:
            fields["to-tag"] = TAGS[1]
        self._ask(step, call, fields, now)

    def _take_replies(self, now: float) -> None:
        while replies := self._control.replies():
            for (step, call), reply in replies:
                self._on_reply(step, call, reply, now)

    def _on_reply(self, step: _Step, call: EngineCall, reply: Reply, now: float) -> None:
        why = reply.refusal
        if call in self._calls:
            match step:
                case _Step.OFFER | _Step.ANSWER:
                    why = why or self._take_ports(step, call, reply.fields)
                    self._on_described(step, call, is_done=not why, now=now)
                case _Step.QUERY:
                    self._on_counted(call, reply, is_last=False)
                    self._tell_if_need_be(call, now)
                    if not call.is_given_up:
                        self.watch(call, now)
                case _Step.LAST_QUERY:
                    self._on_counted(call, reply, is_last=True)
                    self._forget(call, now)
        if why and self._control.is_answering:
            # Where it does not answer at all one line is enough.
            facts = {"call": call.wanted.name, "command": step.value, "why": why}
            self._effects.append(Note("media engine refuses", facts, is_warning=True))

    def _on_counted(self, call: EngineCall, reply: Reply, *, is_last: bool) -> None:
        if reply.refusal:
            call.is_given_up |= self._control.is_answering
        else:
            call.figures = {
                (TAGS.index(tag), call.wanted.carried[position]): figures
                for (tag, position), figures in counted(reply.fields).items()
                if tag in TAGS and position < len(call.wanted.carried)
            }
        self._effects.append(EngineCounted(call, is_last))

    def _on_described(self, step: _Step, call: EngineCall, *, is_done: bool, now: float) -> None:
        call.is_telling = is_done and step is _Step.OFFER
        if call.is_telling:
            self._describe(_Step.ANSWER, call, now)
        elif is_done:
            self._tell_if_need_be(call, now)
            self._on_prepared(call, now)
        elif call.token is not None:
            self._effects.append(AskAnswered(call.token, None))
            self._forget(call, now)
        else:
            call.is_told = False
            call.is_given_up |= self._control.is_answering

    def _on_prepared(self, call: EngineCall, now: float) -> None:
        if call.token is not None:
            self._effects.append(AskAnswered(call.token, call))
            call.token = None
            self._unclaimed.add(call)
            self._timers.set(call, now + self._limits.claim_s, "nobody has begun this call")

    def _take_ports(self, step: _Step, call: EngineCall, fields: Mapping[str, Value]) -> str:
        """Take the ports that the engine names; what is wrong with them, or empty."""
        which = 1 if step is _Step.OFFER else 0
        sdp = fields.get("sdp")
        try:
            addresses = named(sdp if isinstance(sdp, str) else "")
        except MalformedSdp as error:
            return f"its description cannot be read: {error}"
        if len(addresses) != len(call.wanted.carried):
            return f"it describes {len(addresses)} streams in the place of {len(call.wanted.carried)}"
        if any((":" in host) != (":" in call.wanted.hosts[which]) for host, _ in addresses):
            return f"it has no address that {call.wanted.hosts[which]} reaches"
        if call.addresses[which] not in ((), addresses):
            return "it has other ports for a call that goes on"
        call.addresses[which] = addresses
        return ""
