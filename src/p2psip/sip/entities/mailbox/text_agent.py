"""The agent of a peer that keeps text messages for who is not reached, and has those that waited delivered (RFC 3428).

A user agent inside the server's process, as the state agent is. A MESSAGE comes to it by the resolver `ByMailbox`, once
there is a place for it; its sender is answered when it is kept. What waits for a line comes as a command.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from email.utils import formatdate

from p2psip.base.address import Address
from p2psip.base.effects import Asks, Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.sip.entities.agents.types import ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ANONYMOUS, NOT_PROVED, line_uri
from p2psip.sip.entities.mailbox.by_mailbox import TEXT_AGENT, TICKET_PARAM
from p2psip.sip.entities.mailbox.mailbox_questions import (
    UNPROVED,
    KeepMessage,
    Kept,
    NotKept,
    TextDelivered,
    TextWaiting,
)
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request
from p2psip.sip.transactions.events import RequestArrived, ResponseArrived, TransactionFailed, TuEvent
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener, TransportLayer

TEXT_BYTES_MAX = 8192
"""Of a body. RFC 3428 section 8 has 1300 bytes on ways without congestion control; peers are linked by streams."""

WAITING_MAX = 64
KEEP_S = 25.0
"""Less than the 32 s after which a sender gives up (timer F)."""

_SERVER = Address("127.0.0.1", 0)
"""The server of this process. No URI names a port 0."""

_TYPE_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class _Sent:
    """A text on its way to the phones of a line."""

    line: str
    key: bytes


class TextAgent:
    """An `AgentCore`. Nobody but a resolver leads to it."""

    name = TEXT_AGENT

    def __init__(self, config: ServerConfig, rng: random.Random) -> None:
        self._realm = config.realm
        transport = TransportLayer((Listener("UDP", LOCAL_ADDRESS),))
        self._layer = TransactionLayer(transport, rng, config.timers, config.limits.transactions)
        self._asks: Asks[RequestArrived | None] = Asks(WAITING_MAX)
        self._effects: list[Effect] = []

    def is_meant(self, user: str) -> bool:
        """False: it is told what is wanted by whoever leads here."""
        return False

    def handle_message(self, data: bytes, now: float) -> None:
        """The server delivers a SIP message."""
        self._layer.handle(Datagram(LOCAL_ADDRESS, _SERVER, data), now)
        self._run(now)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """It is given no media address."""
        raise AssertionError("texts have no media")

    def handle_order(self, order: object, now: float) -> None:
        """A text that has waited: TextWaiting."""
        assert isinstance(order, TextWaiting), "nothing else is told to it"
        self._deliver(order, now)
        self._run(now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """A text is kept, or cannot be."""
        self._conclude(self._asks.answered(token), answer, now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timeout(now)
        for arrived in self._asks.expired(now):
            self._conclude(arrived, NotKept("the overlay has not answered in time"), now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._layer.next_deadline(), self._asks.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be done: ToServer, Ask."""
        effects, self._effects = self._effects, []
        return effects

    # What comes

    def _run(self, now: float) -> None:
        while events := self._layer.events():
            for event in events:
                self._on_event(event, now)
        self._effects += [ToServer(sent.data) for sent in self._layer.drain() if isinstance(sent, SendUdp)]

    def _on_event(self, event: TuEvent, now: float) -> None:
        match event:
            case RequestArrived():
                self._on_request(event, now)
            case ResponseArrived(_, response, _Sent(line, key)) if not response.is_provisional:
                # What the owner does not want, or no phone of his can show, waits no longer.
                is_over = response.is_success or response.status in (403, 405, 415, 488, 501) or response.status >= 600
                self._ask(TextDelivered(line, key, is_over), None, now)
            case TransactionFailed(_, _, _, _Sent(line, key)):
                self._ask(TextDelivered(line, key, False), None, now)

    def _on_request(self, arrived: RequestArrived, now: float) -> None:
        request = arrived.request
        ticket = request.sip_uri.param(TICKET_PARAM)
        if request.method != "MESSAGE" or ticket is None:
            self._respond(arrived, 405 if ticket is None else 481, now, ("Allow", "MESSAGE"))
        elif len(request.body) > TEXT_BYTES_MAX:
            self._respond(arrived, 413, now)
        elif len(self._asks) >= WAITING_MAX // 2:
            self._respond(arrived, 480, now, ("Retry-After", 60))
        else:
            self._ask(KeepMessage(int(ticket), packed(request), is_text=True), arrived, now)

    def _conclude(self, arrived: RequestArrived | None, answer: object, now: float) -> None:
        if arrived is None:
            return
        if isinstance(answer, Kept):
            # RFC 3428 section 7: "A UAS which is, in fact, a message relay, storing the message and forwarding it later
            # on, [...] SHOULD return a 202 (Accepted) response".
            self._respond(arrived, 202, now)
        else:
            why = answer.reason if isinstance(answer, NotKept) else "it could not be kept"
            self._respond(arrived, 480, now, ("Reason", Reason("SIP", 480, why)))

    # What goes

    def _deliver(self, waiting: TextWaiting, now: float) -> None:
        to, from_ = NameAddr(line_uri(waiting.line, self._realm)), self._sender(waiting)
        extra: list[tuple[str, object]] = [
            ("Date", formatdate(waiting.left_ms / 1000, usegmt=True)),
            ("Content-Type", waiting.content_type),
        ]
        if waiting.caller and not waiting.caller.startswith(UNPROVED):
            extra.append(("P-Asserted-Identity", from_))
        tagged = NameAddr(from_.uri, from_.display_name, (("tag", self._layer.new_tag()),))
        call_id, body = self._layer.new_tag(), waiting.body
        request = make_request("MESSAGE", to.uri, from_=tagged, to=to, call_id=call_id, cseq=1, extra=extra, body=body)
        self._layer.request(request, UdpHop(_SERVER), _Sent(waiting.line, waiting.key), now)

    def _sender(self, waiting: TextWaiting) -> NameAddr:
        """Who is shown as the sender."""
        said = waiting.caller.removeprefix(UNPROVED)
        if not said:
            return ANONYMOUS
        name = waiting.name if said == waiting.caller else f"{NOT_PROVED.display_name}: {said}"
        return NameAddr(line_uri(said, self._realm), name)

    def _ask(self, question: object, context: RequestArrived | None, now: float) -> None:
        if not self._asks.is_full:
            self._effects.append(self._asks.ask(question, context, now + KEEP_S))

    def _respond(self, arrived: RequestArrived, status: int, now: float, *extra: tuple[str, object]) -> None:
        response = make_response(arrived.request, status, to_tag=self._layer.new_tag(), extra=extra)
        self._layer.respond(arrived.transaction, response, now)


def packed(request: Request) -> bytes:
    """A text as it is kept: its type, and what it says."""
    return (request.fields.first("content-type") or "text/plain").encode() + _TYPE_END + request.body


def unpacked(content: bytes) -> tuple[str, bytes]:
    """The type of a text, and what it says."""
    kind, _, body = content.partition(_TYPE_END)
    return kind.decode(errors="replace"), body
