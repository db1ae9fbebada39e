"""Whether a trunk is there: what its server says to REGISTER and to OPTIONS."""

from __future__ import annotations

from typing import Protocol

from p2psip.base.effects import Effect, Note
from p2psip.base.timers import Deadline, Timers
from p2psip.sip.entities.agents.agent_requests import Wiring
from p2psip.sip.entities.gateway.limits import KEEP_ALIVE_S_MAX
from p2psip.sip.entities.gateway.terms import TrunkChanged, TrunkTerms
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Hop

_ANSWER = "the answer"


class Health:
    """Up while it is registered, if it is to be, and answers, if it is asked."""

    def __init__(self, terms: TrunkTerms) -> None:
        self._terms = terms
        self.is_registered = False
        self.is_up = False
        self.since = 0.0
        """When it became what it is, up or down."""
        self.failure = "not asked yet"
        self.failed_at: float | None = None
        self._is_answering = False
        self._effects: list[Effect] = []

    def registered(self, now: float) -> None:
        """The registrar has taken us, and so the server is there."""
        self.is_registered = self._is_answering = True
        self._look(now)

    def not_registered(self, why: str, now: float) -> None:
        """It has not, or not any more."""
        self.is_registered = False
        self.failure, self.failed_at = why, now
        self._look(now)

    def answered(self, now: float) -> None:
        """The server has answered anything."""
        self._is_answering = True
        self._look(now)

    def failed(self, why: str, now: float) -> None:
        """It has not."""
        self._is_answering = False
        self.failure, self.failed_at = why, now
        self._look(now)

    def drain(self) -> list[Effect]:
        """What has changed since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _look(self, now: float) -> None:
        is_up = self._is_answering and (self.is_registered or not self._terms.registers)
        if is_up == self.is_up:
            return
        self.is_up, self.since = is_up, now
        why = "" if is_up else self.failure
        name = self._terms.name
        facts = {"trunk": name, "server": self._terms.host} | ({} if is_up else {"why": why})
        self._effects.append(TrunkChanged(name, is_up, why))
        self._effects.append(Note("trunk up" if is_up else "trunk down", facts, is_warning=not is_up))


class Asker(Protocol):
    """Who wants to know whether the server is there."""

    def note_alive(self, now: float) -> None:
        """It has answered."""

    def note_silent(self, what: str, now: float) -> None:
        """It has not."""


class KeepAlive:
    """OPTIONS to the server, whose answer of any kind says that it is there (a `Requester`).

    RFC 3261 11: "An OPTIONS request [...] allows a UA to query another UA or a proxy server as to its capabilities";
    between trunks it is what shows that the other side is there, and keeps a NAT's mapping.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._cseq = 0
        self._server: Hop | None = None
        self._asked: set[str] = set()
        """The Call-IDs of what that server has not answered yet."""
        self._overdue: Timers[str] = Timers()

    def ask(self, wiring: Wiring, now: float) -> None:
        """Send one; for the answers to those before nobody waits any more. What another server says does not matter."""
        config = wiring.config
        if config.server != self._server:
            self._server = config.server
            self._asked.clear()
            self._overdue.cancel(_ANSWER)
        self._cseq += 1
        server = SipUri(config.address_of_record.host)
        request = make_request(
            "OPTIONS",
            server,
            from_=NameAddr(config.address_of_record).with_tag(wiring.transactions.new_tag()),
            to=NameAddr(server),
            call_id=wiring.transactions.new_tag(),
            cseq=self._cseq,
            extra=[("Contact", NameAddr(config.contact))],
        )
        self._asked.add(request.call_id)
        if _ANSWER not in self._overdue:
            self._overdue.set(_ANSWER, now + KEEP_ALIVE_S_MAX, "OPTIONS is not answered")
        wiring.send(self, request, config.server, now)

    def handle_timeout(self, now: float) -> None:
        """The answer is overdue: the transaction waits longer than a caller should."""
        for _ in self._overdue.pop_due(now):
            self._asker.note_silent(f"OPTIONS was not answered in {KEEP_ALIVE_S_MAX:g} s", now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._overdue.next_deadline()

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""
        if response.is_provisional or request.call_id not in self._asked:
            return
        self._asked.discard(request.call_id)
        self._overdue.cancel(_ANSWER)
        if response.status in (408, 503):
            self._asker.note_silent(f"OPTIONS: {response.status} {response.phrase}", now)
        else:
            self._asker.note_alive(now)

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""
        is_of_server = request.call_id in self._asked
        self._asked.discard(request.call_id)
        if is_of_server and _ANSWER in self._overdue:
            self._overdue.cancel(_ANSWER)
            self._asker.note_silent(f"OPTIONS: {what}", now)
