"""A user agent (RFC 3261 section 8): registers, places calls, answers them.

A core: datagrams, connections, answers, timeouts and commands in; effects out, among them the events of
`agent_types.py`. It does not care what is below it: a test phone gives it sockets, a peer joins its echo service to
the proxy by datagrams in memory. Media is not its business beyond the negotiation: it asks for a local address
(`Ask(MediaWanted(call))`) and tells what was agreed.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

from p2psip.base.address import Address
from p2psip.base.effects import Asks, Effect
from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import Deadline, earliest
from p2psip.sip.dialogs.dialog import DialogId
from p2psip.sip.entities.agents.agent_requests import ALLOWED, Pending, Wiring, Within
from p2psip.sip.entities.agents.call import Call, unsupported
from p2psip.sip.entities.agents.digest_credentials import DigestCredentials
from p2psip.sip.entities.agents.incoming import CallIn
from p2psip.sip.entities.agents.outgoing import CallOut
from p2psip.sip.entities.agents.registration import PART as REGISTRATION
from p2psip.sip.entities.agents.registration import Registration
from p2psip.sip.entities.agents.types import AgentConfig, AskedWithin, CallId
from p2psip.sip.entities.bodies import SDP, may_answer, unreadable
from p2psip.sip.message.build import METHODS, make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import (
    AckArrived,
    RequestArrived,
    ResponseArrived,
    TransactionEnded,
    TransactionFailed,
    TuEvent,
)
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transactions.merging import is_merged
from p2psip.sip.transports.arrivals import Arrival, FlowDown
from p2psip.sip.transports.hops import StreamHop
from p2psip.sip.transports.layer import TransportLayer

TRANSACTIONS_MAX = 1000
_NO_SUCH_ANSWER = f'399 agent "answers are {SDP}"'


class UserAgent:
    """One user's phone, without its ears and its mouth."""

    def __init__(self, config: AgentConfig, rng: random.Random) -> None:
        transport = TransportLayer(config.listeners)
        user = config.auth_user or config.address_of_record.user_name
        self._config = config
        self._transactions = TransactionLayer(transport, rng, config.timers, TRANSACTIONS_MAX)
        # A call asks once; those that are over may still have a question open.
        self._asks: Asks[CallId] = Asks(limit=4 * config.calls_max)
        self._wiring = Wiring(
            config, self._transactions, rng, DigestCredentials(user, config.password, rng), self._asks
        )
        self._registration = Registration(self._wiring)
        self._calls: dict[CallId, Call] = {}
        self._numbers = itertools.count(1)

    # Inputs

    def handle(self, arrival: Arrival, now: float) -> None:
        """Something came in."""
        self._transactions.handle(arrival, now)
        self._run(now)

    def handle_answer(self, token: int, answer: object, now: float) -> CallId | None:
        """The media address that a call asked for, or None if there is none; the call, if it is not over meanwhile."""
        number = self._asks.answered(token)
        if number not in self.calls:
            return None
        self._calls[number].begin(Address(*answer) if isinstance(answer, tuple) else None, now)
        self._run(now)
        return number

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._transactions.handle_timeout(now)
        self._run(now)
        for number in self._asks.expired(now):
            if number in self._calls:
                self._calls[number].begin(None, now)
        for number, alarm in self._wiring.timers.pop_due(now):
            if number == REGISTRATION:
                self._registration.handle_timer(now)
            elif number in self._calls:
                self._calls[number].handle_timer(alarm, now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        parts = (self._transactions, self._asks, self._wiring.timers)
        return earliest(part.next_deadline() for part in parts)

    def drain(self) -> list[Effect]:
        """What is to be done, and what has happened, in order."""
        effects, self._wiring.effects = self._wiring.effects, []
        return [*effects, *self._transactions.drain()]

    # Commands

    @property
    def calls(self) -> list[CallId]:
        """The calls that are not over."""
        return [number for number, call in self._calls.items() if not call.is_over]

    @property
    def is_waiting(self) -> bool:
        """True if a request of ours has no final answer yet: do not go before."""
        return self._wiring.is_waiting

    def register(self, now: float) -> None:
        """Register with the server, and stay registered."""
        self._registration.start(now)
        self._run(now)

    def unregister(self, now: float) -> None:
        """Tell the server that we go."""
        self._registration.stop(now)
        self._run(now)

    def call(
        self, target: SipUri, now: float, display_name: str = "", extra: Sequence[tuple[str, object]] = ()
    ) -> CallId:
        """Call somebody, who is shown this name, or the agent's own, with these further fields. Raises LocalMisuse if
        that cannot be.
        """
        server = self._config.server
        if target.scheme == "sips" and not (isinstance(server, StreamHop) and server.transport == "TLS"):
            # 26.2.2: "sips" asks for TLS all the way.
            raise LocalMisuse(
                f"{target} asks for TLS, over which this phone has not connected: dial sip: in place of sips:"
            )
        if len(self.calls) >= self._config.calls_max or self._asks.is_full:
            raise LocalMisuse(f"there are {len(self.calls)} calls already: hang up one of them first")
        number = next(self._numbers)
        self._calls[number] = CallOut(self._wiring, number, target, now, display_name, extra)
        self._run(now)
        return number

    def answer(self, call: CallId, now: float, extra: Sequence[tuple[str, object]] = ()) -> None:
        """Pick up, with these further fields; nothing happens if the call is over or was never one that rings."""
        ringing = self._calls.get(call)
        if isinstance(ringing, CallIn):
            ringing.answer(now, extra)
            self._run(now)

    def reject(self, call: CallId, status: int, now: float, why: str = "") -> None:
        """Refuse a call that rings: 486 busy, 603 declined ...; and why, in words (RFC 3326)."""
        ringing = self._calls.get(call)
        if isinstance(ringing, CallIn):
            ringing.reject(status, now, why=why)
            self._run(now)

    def hold(self, call: CallId, on: bool, now: float) -> None:
        """Put the other side on hold, or take it back."""
        if call in self._calls:
            self._calls[call].hold(on, now)
            self._run(now)

    def ask_within(
        self, call: CallId, method: str, fields: Iterable[tuple[str, object]], body: bytes, context: object, now: float
    ) -> int | None:
        """Send a request within a call that is up; its number there. `AnsweredWithin(call, context, ...)` follows.

        None if there is no such call (any more).
        """
        asked = self._calls.get(call)
        if asked is None or asked.is_over or asked.dialog is None or not asked.dialog.is_confirmed:
            return None
        number = Within(self._wiring, call, asked.dialog, context).send(method, fields, body, now)
        self._run(now)
        return number

    def answer_within(self, asked: AskedWithin, status: int, now: float) -> None:
        """Answer what the other side of a call has sent; nothing happens if the call is gone."""
        call = self._calls.get(asked.call)
        if call is not None and call.dialog is not None:
            extra = [("Contact", NameAddr(self._config.contact))] if status < 300 else []
            response = make_response(asked.request, status, to_tag=call.dialog.local.tag, extra=extra)
            self._transactions.respond(asked.transaction, response, now)
            self._run(now)

    def hang_up(self, call: CallId, now: float, why: Reason | None = None) -> None:
        """End a call: CANCEL, BYE, which may say why (RFC 3326), or a refusal, whichever it takes."""
        if call in self._calls:
            self._calls[call].hang_up(now, why=why)
            self._run(now)

    # What the transactions tell

    def _run(self, now: float) -> None:
        while events := self._transactions.events():
            for event in events:
                self._on_event(event, now)
        self._calls = {number: call for number, call in self._calls.items() if not call.is_done}

    def _on_event(self, event: TuEvent, now: float) -> None:
        match event:
            case RequestArrived():
                self._on_request(event, now)
            case AckArrived(request):
                self._on_ack(request, now)
            case ResponseArrived(_, response, Pending() as pending):
                try:
                    self._wiring.handle_response(pending, response, now)
                except BadMessage as error:
                    self._wiring.handle_failure(pending, f"malformed answer: {error}", now)
            case TransactionFailed(_, _, what, Pending() as pending):
                self._wiring.handle_failure(pending, what, now)
            case TransactionEnded(transaction, Pending()):
                self._wiring.forget(transaction)
            case FlowDown():
                self._registration.handle_flow_down(event, now)

    def _on_request(self, arrived: RequestArrived, now: float) -> None:
        try:
            self._serve(arrived, now)
        except BadMessage as error:
            self._reply(arrived, error.status, now, phrase=f"Bad Request ({error.what})")

    def _serve(self, arrived: RequestArrived, now: float) -> None:
        """Section 8.2: what comes before the method's own rules, and whose rules they are."""
        request = arrived.request
        extensions = unsupported(request)
        call = self._call_of(request)
        if extensions:
            self._reply(arrived, 420, now, ("Unsupported", ", ".join(extensions)))
        elif request.method == "CANCEL":
            self._on_cancel(arrived, now)
        elif request.method in ALLOWED and not self._passes(request) and (fields := unreadable(request)):
            self._reply(arrived, 415, now, *fields)
        elif call is not None:
            call.handle_request(arrived.transaction, request, now)
        elif request.to.tag or self._passes(request):
            # What passes does so within a call alone.
            self._reply(arrived, 481, now)
        elif request.method == "INVITE" and not may_answer(request):
            self._reply(arrived, 406, now, ("Warning", _NO_SUCH_ANSWER))
        elif request.method == "INVITE":
            self._on_invite(arrived, now)
        elif request.method == "OPTIONS":
            self._reply(arrived, 200, now, ("Allow", self._wiring.allow), ("Accept", SDP))
        else:
            # 21.5.2: "the appropriate response when a UAS does not recognize the request method".
            self._reply(arrived, 405 if request.method in METHODS else 501, now, ("Allow", self._wiring.allow))

    def _passes(self, request: Request) -> bool:
        """True if its user answers it, who alone knows what can be read."""
        return request.method in self._config.passes

    def _on_invite(self, arrived: RequestArrived, now: float) -> None:
        request = arrived.request
        if any(is_merged(request, call.invite) for call in self._calls.values() if isinstance(call, CallIn)):
            self._reply(arrived, 482, now)
        elif len(self.calls) >= self._config.calls_max or self._asks.is_full:
            self._reply(arrived, 486, now)
        else:
            number = next(self._numbers)
            self._calls[number] = CallIn(self._wiring, number, arrived.transaction, request, now)

    def _on_cancel(self, arrived: RequestArrived, now: float) -> None:
        meant = [c for c in self._calls.values() if isinstance(c, CallIn) and c.transaction == arrived.cancels]
        # 9.2: "If the UAS did not find a matching transaction for the CANCEL [...], it SHOULD respond to the CANCEL
        # with a 481"; a matching one that is answered already is not affected by it.
        self._reply(arrived, 481 if arrived.cancels is None else 200, now)
        for call in meant:
            call.cancel(arrived.request, now)

    def _on_ack(self, ack: Request, now: float) -> None:
        call = self._call_of(ack)
        if call is not None:
            call.handle_ack(ack, now)

    def _call_of(self, request: Request) -> Call | None:
        wanted = DialogId.of_request(request)
        return next((call for call in self._calls.values() if call.dialog and call.dialog.id == wanted), None)

    def _reply(
        self, arrived: RequestArrived, status: int, now: float, *extra: tuple[str, object], phrase: str | None = None
    ) -> None:
        """Answer a request that starts no call."""
        tag = self._transactions.new_tag()
        response = make_response(arrived.request, status, phrase, to_tag=tag, extra=extra)
        self._transactions.respond(arrived.transaction, response, now)
