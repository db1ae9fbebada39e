"""Where requests cross from one overlay of a site to another: an agent on each side, and nothing in between.

Theory of operation. A site has one peer in each of its overlays, and the SIP servers of these peers are in one process.
Each server has two agents for each other overlay, which only hand on what they are given: a message that the server of
one overlay sends to its agent comes out of the agent of the other one, as that server's to carry. Both Record-Route, so
what belongs to a dialog finds its way by tokens; there is no state here.

By which of its two agents a request comes says what it is for. `ASKS` ends as `ASKED`: a line of the one overlay calls
somebody of the other, who is looked for there. `RINGS` ends as `RUNG`: somebody is called in the one overlay whose
phones are at the other's peer, and rings there, wherever else he may have phones.

A user with lines of the same name in both overlays at this site is one user: to the members of each he calls by the
line that he has there, which signs for him.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline
from p2psip.sip.entities.agents.types import ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED, line_uri
from p2psip.sip.entities.overlays.other_overlays import ASKED, ASKS, RINGS, RUNG, agent_name
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import readable
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

_COUNTERPARTS = {ASKS: ASKED, ASKED: ASKS, RINGS: RUNG, RUNG: RINGS}

UNREACHED = 504
"""What is answered in the place of an overlay that this site is not in now: the next one is asked. A 503 would lose its
reason on the way (RFC 3261 section 16.7 step 6)."""


@dataclass(frozen=True, slots=True)
class Crossed(Effect):
    """A message for the server of the `overlay`, from the agent there of this name."""

    overlay: str
    agent: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CrossedOver:
    """A message that has crossed from the other side."""

    data: bytes


@dataclass(frozen=True, slots=True)
class OverlayEnded:
    """This site is in the other overlay no more until it is started anew, and why."""

    why: str


class Crossing:
    """One way to or from another overlay (an `AgentCore`, and an `OrderedAgent`)."""

    def __init__(self, config: ServerConfig, way: str, other: str, rng: random.Random) -> None:
        self.name = agent_name(way, other)
        self._config = config
        self._way = way
        self._other = other
        self._tag = f"{rng.getrandbits(64):016x}"
        self._ended = ""
        self._effects: list[Effect] = []

    def is_meant(self, user: str) -> bool:
        """AgentCore: by no name; the domain leads here, or a rule (by_overlay.py)."""
        return False

    def handle_message(self, data: bytes, now: float) -> None:
        """AgentCore: something for the other side."""
        if self._ended:
            self._refuse(data, self._ended)
        else:
            there = agent_name(_COUNTERPARTS[self._way], self._config.overlays.own)
            self._effects.append(Crossed(self._other, there, data))

    def handle_order(self, order: object, now: float) -> None:
        """OrderedAgent: something from the other side, or that it has ended."""
        match order:
            case OverlayEnded(why):
                self._ended = why
            case CrossedOver(data):
                self._effects.append(self._arrived(data))

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """AgentCore: it has none."""

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """AgentCore: it asks nothing."""

    def handle_timeout(self, now: float) -> None:
        """AgentCore: nothing is ever due."""

    def next_deadline(self) -> Deadline | None:
        """AgentCore"""
        return None

    def drain(self) -> list[Effect]:
        """AgentCore"""
        effects, self._effects = self._effects, []
        return effects

    def _arrived(self, data: bytes) -> Effect:
        """What is done with a message of the other side: this server carries it, or it goes back as refused."""
        request = _request_in(data) if self._way == ASKED else None
        if request is None:
            return ToServer(data)
        own = self._config.overlays.own
        if request.begins and not self._config.overlays.is_connected():
            refused = self._refusal(request, f"this site is not in the overlay {own} now")
            return Crossed(self._other, agent_name(ASKS, own), refused)
        return ToServer(self._as_own(request).encode())

    def _as_own(self, request: Request) -> Request:
        """A request of who has a line here as well, as that line's."""
        fields = request.fields
        for name, key in (("From", "from"), ("P-Asserted-Identity", ASSERTED)):
            said = fields.first(key)
            value = None if said is None else readable(lambda said=said: self._own_name(said), None)  # type: ignore[misc]
            if value is not None:
                fields = fields.with_only(name, value)
        return request.replace(fields=fields)

    def _own_name(self, said: str) -> NameAddr | None:
        """What a value is called here that names a user by his line in the other overlay. Raises BadMessage."""
        value, overlays = NameAddr.parse(said), self._config.overlays
        uri = value.uri
        if not isinstance(uri, SipUri) or uri.host != self._other or not overlays.has_line(uri.user_name):
            return None
        return NameAddr(line_uri(uri.user_name, overlays.own), value.display_name, value.params)

    def _refuse(self, data: bytes, why: str) -> None:
        request = _request_in(data)
        if request is not None and request.method != "ACK":
            self._effects.append(ToServer(self._refusal(request, why)))

    def _refusal(self, request: Request, why: str) -> bytes:
        because = Reason("SIP", UNREACHED, why)
        return make_response(request, UNREACHED, to_tag=self._tag, extra=[("Reason", because)]).encode()


def _request_in(data: bytes) -> Request | None:
    """The request in a message of a server; None if it is a response, or nothing that can be read."""
    message = readable(lambda: parse(data), None)
    return message if isinstance(message, Request) else None


def ways_to(overlay: str) -> tuple[str, ...]:
    """The names of all agents by which something crosses to or from another overlay."""
    return tuple(agent_name(way, overlay) for way in _COUNTERPARTS)


def crossings_of(config: ServerConfig, rng: random.Random) -> tuple[Crossing, ...]:
    """All of a server."""
    return tuple(Crossing(config, way, other, rng) for other in config.overlays.others for way in _COUNTERPARTS)
