"""The state agent of a peer (RFC 6665 section 2): answers for its lines who watches them, and takes what they publish.

A user agent inside the server's process, as the echo is: a SUBSCRIBE comes to it by the way of an INVITE, and its
NOTIFYs go back by the route of their dialog, through other peers' servers too. It speaks in the overlay's terms; each
peer translates for its own phones, bodies as well (naming.py). What its lines do it is told by the server.
"""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.timers import Deadline, TimerQueue, earliest
from p2psip.sip.dialogs.dialog import DialogId
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED
from p2psip.sip.entities.questions import Target
from p2psip.sip.entities.registrar.bindings import Bindings
from p2psip.sip.events.conference_package import ConferencePackage, RoomPeople
from p2psip.sip.events.dialog_package import DialogPackage
from p2psip.sip.events.documents import line_uri
from p2psip.sip.events.line_calls import LineCall, LineCalls
from p2psip.sip.events.message_summary import MessageCounts, MessageSummaryPackage
from p2psip.sip.events.notifier import EventAnswer, Notifier, SendNotify
from p2psip.sip.events.presence import PresencePackage
from p2psip.sip.events.publications import Publications
from p2psip.sip.events.watchers import Watcher, WatchRules
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived, ResponseArrived, TransactionFailed, TuEvent
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Datagram, FromAgent
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import LocalHop, UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener, TransportLayer

EVENTS = frozenset({DialogPackage.name, PresencePackage.name, MessageSummaryPackage.name})
"""The packages that a line's peer answers for. What others a phone may know is asked of the phone; `conference` is of
rooms, of which the peer of a phone that is in knows who is (conference/by_room.py).
"""

_SERVER = Address("127.0.0.1", 0)
"""The server of this process. No URI names a port 0: nobody takes it for a place to connect to (RFC 3261 18.1.1)."""

ALLOWED = "SUBSCRIBE, PUBLISH, OPTIONS"


def is_about_state(request: Request) -> bool:
    """True for what is for the state agent of a line, and not for its phones. Raises BadMessage."""
    if request.method not in ("SUBSCRIBE", "PUBLISH"):
        return False
    return request.event is not None and request.event.package in EVENTS


def state_target(line: str, realm: str) -> Target:
    """The state agent of this peer, where a line of it is asked for."""
    return Target(line_uri(line, realm), (LocalHop(StateAgent.name),), "the state of " + line)


class StateAgent:
    """Notifier and event state compositor of a peer."""

    name = "state"

    def __init__(
        self, config: ServerConfig, bindings: Bindings, rng: random.Random, queue: TimerQueue | None = None
    ) -> None:
        self._realm = config.realm
        self._bindings = bindings
        self._layer = TransactionLayer(
            TransportLayer((Listener("UDP", LOCAL_ADDRESS),), queue=queue),
            rng,
            config.timers,
            config.limits.transactions,
            queue=queue,
        )
        self._calls = LineCalls(config.events.calls_per_line)
        self._presence = PresencePackage(config.realm)
        self._messages = MessageSummaryPackage(config.realm)
        self._rooms = ConferencePackage(config.realm)
        packages = (DialogPackage(config.realm, self._calls), self._presence, self._messages, self._rooms)
        self._notifier = Notifier(packages, WatchRules(config.watchers), config.events, config.peer_side, queue)
        self._publications = Publications(self._presence, config.events, queue)
        self._said: list[FromAgent] = []

    @property
    def allowed_events(self) -> str:
        """For Allow-Events."""
        return self._notifier.allowed

    @property
    def counts(self) -> dict[str, int]:
        """How much of what there is, for the operator."""
        return {
            "calls": len(self._calls),
            "subscriptions": len(self._notifier),
            "publications": len(self._publications),
        }

    # What becomes of lines

    def note_phones(self, line: str, has_phones: bool, now: float) -> None:
        """Whether a phone of the line is registered."""
        if self._presence.note_phones(line, has_phones):
            self._notifier.changed(PresencePackage.name, line, now)
        if not has_phones and self._calls.clear(line):
            self._notifier.changed(DialogPackage.name, line, now)
        self._run(now)

    def note_call(self, line: str, call: LineCall, now: float) -> None:
        """A call of the line is in this state now."""
        if self._calls.note(line, call):
            self._notifier.changed(DialogPackage.name, line, now)
            self._run(now)

    def end_calls(self, call_id: str, now: float, tags: frozenset[str] | None = None) -> None:
        """The calls of this Call-ID with these tags are over; without tags, those that callers have not got through."""
        for line in self._calls.end(call_id, tags):
            self._notifier.changed(DialogPackage.name, line, now)
            self._run(now)

    def note_messages(self, line: str, counts: MessageCounts, now: float) -> None:
        """So many messages are kept for the line now: for who keeps them."""
        if self._messages.note(line, counts):
            self._notifier.changed(MessageSummaryPackage.name, line, now)
        self._run(now)

    def note_room(self, room: str, people: RoomPeople, now: float) -> None:
        """Who is in a room that phones of this peer are in, or were in until now."""
        if self._rooms.note(room, people):
            self._notifier.changed(ConferencePackage.name, room, now)
            self._run(now)

    def room_of(self, line: str, called: str) -> str | None:
        """conference_package.ConferencePackage"""
        return self._rooms.room_of(line, called)

    def remove_line(self, line: str, now: float) -> None:
        """There is no such line any more."""
        self._publications.forget(line)
        self._calls.forget(line)
        self._messages.forget(line)
        self._presence.note_phones(line, False)
        self._notifier.end_line(line, now)
        self._run(now)

    def stop(self, now: float) -> None:
        """The peer is about to end: all who watch are told, and come again."""
        self._notifier.stop(now)
        self._run(now)

    # A core

    def handle_message(self, data: bytes, now: float) -> None:
        """The server delivers a SIP message."""
        self._layer.handle(Datagram(LOCAL_ADDRESS, _SERVER, data), now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timeout(now)
        self._notifier.handle_timeout(now)
        self._publications.handle_timeout(now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(part.next_deadline() for part in (self._layer, self._notifier, self._publications))

    def drain(self) -> list[FromAgent]:
        """What it has to say to the server, in order."""
        said, self._said = self._said, []
        return said

    # Inside

    def _run(self, now: float) -> None:
        while events := self._layer.events():
            for event in events:
                self._on_event(event, now)
        for line in self._publications.drain():
            self._notifier.changed(PresencePackage.name, line, now)
        for effect in self._notifier.drain():
            assert isinstance(effect, SendNotify), "a notifier wants nothing else"
            self._layer.request(effect.request, UdpHop(_SERVER), effect.subscription, now)
        self._said += [FromAgent(self.name, sent.data) for sent in self._layer.drain() if isinstance(sent, SendUdp)]

    def _on_event(self, event: TuEvent, now: float) -> None:
        match event:
            case RequestArrived(_, request):
                try:
                    answer = self._serve(request, tag := self._layer.new_tag(), now)
                except BadMessage as error:
                    answer = EventAnswer(error.status, phrase=f"Bad Request ({error.what})")
                self._respond(event, answer, tag, now)
            case ResponseArrived(_, response, DialogId() as subscription) if not response.is_provisional:
                self._notifier.handle_result(subscription, response.status, now)
            case TransactionFailed(_, _, _, DialogId() as subscription):
                self._notifier.handle_result(subscription, None, now)

    def _serve(self, request: Request, tag: str, now: float) -> EventAnswer:
        if request.method == "CANCEL":
            # 9.2: nothing here takes so long that it could be cancelled.
            return EventAnswer(481)
        if required := request.fields.tokens("require"):
            return EventAnswer(420, tuple(("Unsupported", option) for option in required))
        if request.method == "SUBSCRIBE":
            return self._notifier.subscribe(request, self._watcher(request), tag, now)
        if request.method == "PUBLISH":
            return self._publish(request, tag, now)
        allowed: tuple[tuple[str, object], ...] = (("Allow", ALLOWED), ("Allow-Events", self.allowed_events))
        return EventAnswer(200 if request.method == "OPTIONS" else 405, allowed)

    def _publish(self, request: Request, tag: str, now: float) -> EventAnswer:
        line, watcher = request.sip_uri.user_name, self._watcher(request)
        if watcher is None or watcher.name != line:
            return EventAnswer(403, phrase=f"Nobody but {line} publishes of {line}")
        return self._publications.publish(request, line, tag, now)

    def _watcher(self, request: Request) -> Watcher | None:
        """Who has proved to be the sender, to this peer or to his own."""
        asserted = request.fields.first(ASSERTED)
        uri = NameAddr.parse(asserted, "P-Asserted-Identity").uri if asserted is not None else None
        if not isinstance(uri, SipUri) or uri.host != self._realm or not uri.user:
            return None
        name = uri.user_name.lower()
        # Who has a phone at this peer is at home here: he may know who talks with whom, and pick calls up.
        return Watcher(name, sees_calls=name in self._bindings)

    def _respond(self, arrived: RequestArrived, answer: EventAnswer, tag: str, now: float) -> None:
        request = arrived.request
        if request.method == "PUBLISH":
            # RFC 3903 section 6: "The ESC MUST NOT include a Record-Route header field in any response to a PUBLISH".
            request = request.replace(fields=request.fields.without("record-route"))
        response = make_response(request, answer.status, answer.phrase, to_tag=tag, extra=answer.fields)
        self._layer.respond(arrived.transaction, response, now)
