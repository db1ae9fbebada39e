"""The SIP server of a peer: registrar and proxy on one transaction layer, one core.

What phones see is a PBX: they register here and send everything here (decision 7 of the design). What other peers
see is the peer that serves its lines. Which phone or peer a request goes to is asked (`LocateUser`), also where the
user has a phone at this very peer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline, TimerQueue, earliest, is_due
from p2psip.base.wallclock import WallClock
from p2psip.media.relay.relay import Relay
from p2psip.media.relay.rtpengine.engine_calls import PrepareCall, RtpEngine
from p2psip.sip.entities.agents.agent_table import AgentCore, AgentTable
from p2psip.sip.entities.agents.state_agent import StateAgent, is_about_state, state_target
from p2psip.sip.entities.call_guard import CallGuard, CallUp
from p2psip.sip.entities.call_watch import CallWatch
from p2psip.sip.entities.callers.authentication import Authentication
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.callers.verification import Identified, Verification
from p2psip.sip.entities.calls import Calls, Goodbyes, call_key
from p2psip.sip.entities.conference.room_caller import RoomHeard
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.by_domain import refusal_of
from p2psip.sip.entities.domains.dns_answers import Records
from p2psip.sip.entities.domains.hosted import layer_of
from p2psip.sip.entities.domains.location import Permits
from p2psip.sip.entities.domains.locations import Locations, ServersFound
from p2psip.sip.entities.gate.gate import AnswerInstead, Gate, Outcome, Waits
from p2psip.sip.entities.gate.guests import Guests
from p2psip.sip.entities.gate.identity import is_same
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.kept_calls import pack, unpack
from p2psip.sip.entities.naming import Naming
from p2psip.sip.entities.numbers.marking import marked
from p2psip.sip.entities.numbers.telephone import as_dialled, user_meant
from p2psip.sip.entities.own import is_own_domain, is_peer_itself
from p2psip.sip.entities.own_answers import OwnAnswers
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.proxy.anchoring import Anchoring
from p2psip.sip.entities.proxy.context import reason_field
from p2psip.sip.entities.proxy.edge import Edge
from p2psip.sip.entities.proxy.explaining import Explanation, explain
from p2psip.sip.entities.proxy.proxy import Proxy
from p2psip.sip.entities.proxy.resolvers import Asked, Resolver
from p2psip.sip.entities.proxy.under_way import ringing_for, ways_of
from p2psip.sip.entities.proxy.waiting import Sent
from p2psip.sip.entities.questions import TOKEN_STEP, Hops, NotLocated, ResolveUri, Target
from p2psip.sip.entities.registrar.bindings import Binding, Bindings, BindingsChanged
from p2psip.sip.entities.registrar.targets import targets_of
from p2psip.sip.entities.registrar.tokens import Tokens
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.entities.resolving import resolvers_of
from p2psip.sip.entities.switching.leads import JoinCall
from p2psip.sip.events.message_summary import MessageCounts
from p2psip.sip.message.build import make_trying, phrase_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, Uri, escape_user
from p2psip.sip.transactions.events import (
    AckArrived,
    RequestArrived,
    ResponseArrived,
    TransactionEnded,
    TransactionFailed,
    TuEvent,
)
from p2psip.sip.transports.arrivals import Arrival, FlowDown
from p2psip.sip.transports.effects import SendFlow, SendUdp, ToAgent
from p2psip.sip.transports.hops import FlowHop, LocalHop, Source
from p2psip.sip.transports.layer import LOCAL_ADDRESS, TransportLayer

TO_OTHER_PHONES = frozenset({"INVITE", "MESSAGE", "OPTIONS", "REFER"})
"""What one can mean who sends a request to oneself: the other phones that one has."""


class SipServer:
    """Transports, transactions, registrar and proxy of one peer."""

    def __init__(
        self,
        config: ServerConfig,
        rng: random.Random,
        agents: Sequence[AgentCore] = (),
        resolvers: Sequence[Resolver] = (),
        handlings: Handlings | None = None,
        trunks: Sequence[Trunk] = (),
    ) -> None:
        """`agents` are reached by dialling, `trunks` call others; `resolvers` say where requests go, before all that
        know users; `handlings` are what the lines want of their calls.
        """
        queue = self._queue = TimerQueue()
        transport = TransportLayer(
            config.listeners, config.peer_sent_by, config.transport_limits, config.addresses, config.origins, queue
        )
        self._config = config
        self._layer = layer_of(config, transport, rng, queue)
        self._bindings = Bindings(config.limits.bindings_per_user, queue)
        self._gate = Gate(config, rng, queue)
        self._guests = Guests(config)
        handlings = handlings or Handlings()
        self._calls = Calls(config.limits.transactions)
        self._goodbyes = Goodbyes(config.timers.timeout_s, config.limits.transactions)
        self._tokens = Tokens(rng, config.token_secret)
        naming = Naming(config, self._tokens, transport)
        self._ways = Ways(config, self._bindings, naming, transport)
        self._agents = AgentTable((*agents, *trunks))
        self.trunks = tuple(trunks)
        self.state = StateAgent(config, self._bindings, rng, queue)
        """Who watches the lines of this peer, and what they are told."""
        self._answers = OwnAnswers(config, self._layer, self._bindings, self.state.allowed_events)
        self._call_watch = CallWatch(self.state)
        self._guard = CallGuard(config, rng, queue)
        known = (config, self._agents, self.trunks, self._ways, self._tokens, handlings, self.state)
        self._resolvers = resolvers_of(*known, lambda user: ringing_for(user, self._proxy.contexts), resolvers)
        engine = RtpEngine(config.media_engine, rng, queue=queue) if config.media_engine else None
        self.relay = Relay(rng, engine=engine, queue=queue)
        """Of calls whose media goes through here. Who has a datagram for it may give it to it at once."""
        if config.media != "direct" or self._agents.has_wired:
            self.relay.start()
        self._anchoring = Anchoring(config, transport, self.relay, self._agents)
        self._authentication = Authentication(config.realm)
        self._verification = Verification(config, self._ways.is_at_phone, queue)
        edge = Edge(config, transport, self._tokens, naming, self._anchoring, self._authentication, handlings)
        self._proxy = Proxy(config, self._layer, self._bindings, self._tokens, self._ways, self._resolvers, edge, queue)
        permits = Permits(partial(refusal_of, config=config), config.addresses.best("::") is not None)
        self._locations = Locations(permits, rng, queue, config.other_domains.servers)
        self._effects: list[Effect] = []
        self._ready: list[Effect] = []

    # Inputs

    def handle(self, arrival: Arrival, now: float) -> None:
        """Something came in, from a phone, another peer or an agent."""
        self._layer.handle(arrival, now)
        self._run(now)

    def handle_wire(self, name: str, arrival: Arrival, now: float) -> None:
        """Something came in at the own sockets of an agent."""
        self._agents.handle_wire(name, arrival, now)
        self._run(now)

    def order(self, name: str, order: object, now: float) -> None:
        """Have an agent do something that nobody has dialled."""
        self._agents.handle_order(name, order, now)
        self._run(now)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address of an agent."""
        self._agents.handle_media(local, remote, data, now)
        self._run(now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask."""
        if token % TOKEN_STEP == 0:
            self._agents.handle_answer(token // TOKEN_STEP, answer, now)
        elif isinstance(answer, Records):
            self._locations.handle_answer(token, answer, now)
        elif (outcome := self._gate.handle_answer(token, answer, now)) is not None:
            self._on_outcome(outcome, now)
        elif (found := self._verification.handle_answer(token, answer, now)) is not None:
            self._on_looked_at(found, now)
        else:
            self._proxy.handle_answer(token, answer, now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timeout(now)
        self._effects += self._bindings.handle_timeout(now)
        for outcome in self._gate.handle_timeout(now):
            self._on_outcome(outcome, now)
        for found in self._verification.handle_timeout(now):
            self._on_looked_at(found, now)
        self._agents.handle_timeout(now)
        for part in (self._locations, self._proxy, self.relay, self.state, self._guard):
            if is_due(part, now):
                part.handle_timeout(now)
        self._run(now)

    def drain(self) -> list[Effect]:
        """What the driver shall do, in order."""
        ready, self._ready = [*self.relay.drain(), *self._ready, *self._effects, *self._anchoring.drain()], []
        ready += self._guard.drain()
        self._effects.clear()
        return ready

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._queue.next_deadline(), self._agents.next_deadline()))

    # What the coupling wants to know

    def bindings(self, user: str, now: float) -> tuple[Binding, ...]:
        """The phones of a user at this peer, best first."""
        return self._bindings.of(user, now)

    def targets(self, user: str, now: float) -> tuple[Target, ...]:
        """The phones of a user at this peer as targets for Located."""
        return targets_of(user, self.bindings(user, now))

    def state_targets(self, user: str) -> tuple[Target, ...]:
        """Who answers for a line of this peer, whether it has a phone or not, as targets for Located."""
        return (state_target(user, self._config.realm),)

    def note_messages(self, line: str, counts: MessageCounts, now: float) -> None:
        """So many messages wait for a line: its lamps say so."""
        self.state.note_messages(line, counts, now)
        self._run(now)

    def users(self) -> list[str]:
        """Everybody who has a phone registered here."""
        return self._bindings.users()

    def remove_user(self, user: str, now: float) -> None:
        """Forget the phones of a user, whose line is gone; who watches it is told."""
        self._bindings.store(user, ())
        self._effects.append(BindingsChanged(user, ()))
        self.state.remove_line(user, now)
        self._run(now)

    def start(self, now: float) -> None:
        """The agents that have sockets of their own begin."""
        self._agents.start(now)
        self._run(now)

    def stop(self, now: float) -> None:
        """The peer is about to end: who watches its lines is told, who waits for an answer, and a trunk's server."""
        self.state.stop(now)
        self._agents.stop(now)
        self._proxy.stop(now)
        self._run(now)

    def set_wall_clock(self, wall: WallClock) -> None:
        """What the date is, which phones set their clocks by, and which proofs of callers have."""
        self._answers.wall = wall
        self._authentication.use_date(wall)
        self._verification.use_date(wall)

    def is_between_messages(self, flow: int) -> bool:
        """True if of no message over a connection a part is missing."""
        return self._layer.transport.is_between_messages(flow)

    def flow_of_peer(self, peer: str) -> int | None:
        """The open connection with an overlay peer."""
        return self._layer.transport.flow_of_peer(peer)

    def awaits(self, flow: int) -> bool:
        """True if somebody rings, or hears ringing, by this connection."""
        return self._proxy.awaits(flow)

    def use_addresses(self, present: Iterable[str]) -> None:
        """This machine has these addresses now, the best first: registrations and calls stay as they are."""
        self._config.addresses.use(present)

    def find_servers(self, uri: SipUri, context: object, now: float) -> None:
        """Search the servers of another domain for an operator; `ServersFound(context, ...)` follows."""
        self._locations.begin(uri, context, now)
        self._run(now)

    def meant(self, uri: Uri) -> Uri:
        """What in the overlay a URI means that a phone of this peer has made of what was dialled."""
        return user_meant(uri, self._config)

    def explain(self, uri: SipUri, user: str | None, now: float) -> Explanation:
        """What would become of a call for `uri` that a phone of the line `user` makes: nobody is called by that."""
        caller = SipUri(self._config.realm, escape_user(user or ""))
        fields = Fields.of(("From", NameAddr(caller)), ("To", NameAddr(uri)), ("Call-ID", "explained"))
        if user is not None:
            fields = fields.with_last("P-Asserted-Identity", NameAddr(caller))
        request = marked(Request("INVITE", uri, fields), user, self._config.numbering)
        routed = routing.Routed(request, None, None)
        asked = Asked(routed, uri, Source(LocalHop("explained"), "UDP", LOCAL_ADDRESS), user)
        return explain(self._resolvers, asked, self._config.limits.turns, now)

    @property
    def counts(self) -> dict[str, int]:
        """How much of what there is, for the operator."""
        return {
            "transactions": len(self._layer),
            "requests under way": len(self._proxy) + len(self._verification),
            "users": len(self._bindings.users()),
            "calls guarded": len(self._guard),
            "dropped": self._layer.dropped,
            **self.state.counts,
        }

    def snapshot(self, now: float) -> bytes:
        """All registrations, and the calls of phones, to be kept over a restart."""
        return pack(self._bindings.snapshot(now), self._guard.snapshot())

    def restore(self, snapshot: bytes, now: float, elapsed_s: float = 0.0) -> None:
        """Take up the registrations and calls of a snapshot made `elapsed_s` ago. Raises LocalMisuse."""
        phones, calls = unpack(snapshot)
        self._effects += self._bindings.restore(phones, now, elapsed_s)
        self._guard.restore(calls, now)
        self._run(now)

    # Events

    def _run(self, now: float) -> None:
        """Handle events, and carry what agents are told and say, until there is no more of it."""
        self._handle_events(now)
        while self._carry(now):
            self._handle_events(now)

    def _handle_events(self, now: float) -> None:
        while events := self._layer.events():
            for event in events:
                try:
                    self._on_event(event, now)
                except BadMessage as error:
                    self._on_bad(event, error, now)

    def _carry(self, now: float) -> bool:
        """To the agents what is for them, to the driver what is for it; True if one of the parts has answered."""
        own, self._effects = self._effects, []
        for effect in (*self._layer.drain(), *own, *self._proxy.drain()):
            match effect:
                case SendUdp() | SendFlow():
                    self._ready.append(effect)
                case ToAgent(StateAgent.name, data):
                    self.state.handle_message(data, now)
                case ToAgent(CallGuard.name, data):
                    self._guard.handle_message(data, now)
                case CallUp(request, response):
                    if not self._is_over(request, response, now):
                        self._guard.begin(effect, now)
                case ToAgent(name, data):
                    self._agents.handle_message(name, data, now)
                case Ask(token, PrepareCall() as wanted):
                    self.relay.ask_engine(token, wanted, now)
                case Ask(token, ResolveUri(uri, is_outside=True)):
                    self._locations.begin(uri, token, now)
                case CancelAsk(token):
                    self._locations.cancel(token)
                    self._ready.append(effect)
                case _:
                    self._note_state(effect, now)
                    self._ready.append(effect)
        wishes = self._agents.drain()
        for effect in wishes.effects:
            match effect:
                case Ask(token) | CancelAsk(token):
                    self._ready.append(replace(effect, token=TOKEN_STEP * token))
                case JoinCall(call, target):
                    self._proxy.join(call, target, now)
                case RoomHeard(room, heard):
                    self.state.note_room(room, heard, now)
                case _:
                    self._ready.append(effect)
        said = (*wishes.said, *self.state.drain(), *self._guard.said())
        for message in said:
            self._layer.handle(message, now)
        return self._hear_of_servers(now) or bool(said)

    def _hear_of_servers(self, now: float) -> bool:
        """What the searches for servers of other domains ask and find; True if the proxy has waited for one."""
        has_answered = False
        for effect in self._locations.drain():
            match effect:
                case ServersFound(int() as token, _, found):
                    reason = found.reason or None
                    missing = NotLocated(found.status, phrase_of(found.status), reason)
                    self._proxy.handle_answer(token, Hops(found.hops) if found.hops else missing, now)
                    has_answered = True
                case _:
                    self._ready.append(effect)
        return has_answered

    def _note_state(self, effect: Effect, now: float) -> None:
        """What of all that is told to the driver is news for who watches lines."""
        match effect:
            case BindingsChanged(user, bindings):
                self.state.note_phones(user, bool(bindings), now)
            case RequestCarried():
                self._call_watch.on_carried(effect, now)

    def _on_event(self, event: TuEvent, now: float) -> None:
        match event:
            case RequestArrived():
                self._on_request(event, now)
            case ResponseArrived(_, response, context):
                self._proxy.on_response(context, response, now)
                if isinstance(context, Sent) and not self._is_over(context.context.request, response, now):
                    self._call_watch.on_response(*context, response, now)
                    if context.context.request.method in ("INVITE", "UPDATE") and response.is_success:
                        self._calls.begin(response.call_id, (context.context.source.hop, context.branch.way))
            case AckArrived(request, source):
                self._proxy.forward_ack(request, source, now)
            case TransactionFailed(_, failure, what, context):
                if isinstance(context, Sent):
                    self._call_watch.on_over(*context, now)
                self._proxy.on_failure(context, failure, what, now)
            case TransactionEnded(transaction):
                self._proxy.on_ended(transaction, now)
            case FlowDown():
                self._effects += self._bindings.handle_flow_down(event, now)
                self._proxy.flow_down(event.flow, now)
                self._guard.flow_down(event.flow, now)

    def _on_bad(self, event: TuEvent, error: BadMessage, now: float) -> None:
        """A field that only its reader could find malformed: 400, or whatever the error says."""
        self._layer.dropped += 1
        if isinstance(event, RequestArrived):
            self._answers.reply(event, error.status, now, f"{phrase_of(error.status)} ({error.what})")
        elif isinstance(event, ResponseArrived):
            self._proxy.on_malformed(event.context, event.response, f"malformed answer: {error.what}", now)

    # Requests

    def _on_request(self, arrived: RequestArrived, now: float) -> None:
        request, source = arrived.request, arrived.source
        if request.method == "CANCEL":
            self._on_cancel(arrived, now)
            return
        if source.peer is None and request.method != "REGISTER" and not request.to.tag:
            request = as_dialled(request, self._config)
            arrived = replace(arrived, request=request)
        rejection = routing.validate(request, source, self._layer.transport)
        if rejection is not None:
            self._answers.reply(arrived, rejection.status, now, rejection.phrase, rejection.extra)
        elif request.method == "REGISTER" and source.peer is not None:
            self._answers.reply(arrived, 403, now, "Phones register with their own peer")
        elif source.peer is not None and self._says_who_it_is(request):
            found = self._verification.examine(arrived, now)
            if isinstance(found, Ask) and request.method == "INVITE":
                # A certificate may have to be fetched: the caller may give up meanwhile (9.1).
                self._layer.respond(arrived.transaction, make_trying(request), now)
            self._on_looked_at(found, now)
        elif not self._needs_proof(arrived):
            self._admit(arrived, None, now)
        elif not self._guests.is_guest(request, source):
            outcome = self._gate.examine(arrived, now)
            if isinstance(outcome, Ask):
                self._effects.append(outcome)
            else:
                self._on_outcome(outcome, now)
        elif (refusal := self._guests.count(arrived, now)) is not None:
            self._on_outcome(refusal, now)
        else:
            self._admit(arrived, None, now)

    def _on_looked_at(self, found: Identified | Ask, now: float) -> None:
        """What is known of who sends what another peer has sent; an Ask if that takes a while yet."""
        if isinstance(found, Ask):
            self._effects.append(found)
            return
        refusal = self._verification.refusal(found)
        if refusal is not None:
            status, phrase = refusal
            self._answers.reply(found.arrived, status, now, phrase)
            return
        try:
            self._admit(found.arrived, None, now, found.caller)
        except BadMessage as error:
            self._on_bad(found.arrived, error, now)

    def _on_cancel(self, arrived: RequestArrived, now: float) -> None:
        """9.2: answered here, hop by hop, whatever becomes of the INVITE."""
        if arrived.cancels is None:
            self._answers.reply(arrived, 481, now)
            return
        self._answers.reply(arrived, 200, now)
        if (waiting := self._gate.cancel(arrived.cancels)) is not None:
            self._on_outcome(waiting, now)
        if (unknown := self._verification.cancel(arrived.cancels)) is not None:
            self._answers.reply(unknown, 487, now)
        self._proxy.cancel(arrived.cancels, arrived.request.fields.lines("reason"), now)

    def _needs_proof(self, arrived: RequestArrived) -> bool:
        """True for what a phone must prove by its password to be allowed to send."""
        request = arrived.request
        if request.method == "REGISTER" and is_own_domain(request.sip_uri, self._config):
            return True
        if arrived.source.is_trusted or self._is_for_us(request):
            return False
        return routing.sender_token(request, arrived.source, self._config, self._tokens) is None

    def _is_for_us(self, request: Request) -> bool:
        """True for a request to the peer itself, nobody behind it, or one that is to be served where it ends."""
        if request.method == "OPTIONS" and request.max_forwards == 0:
            # 16.3 step 3: "If the request is for the OPTIONS method, the element MAY act as the final recipient and
            # respond per Section 11": by that one finds out who is on the way.
            return True
        return is_peer_itself(request.sip_uri, self._config) and not request.to.tag and len(request.routes) <= 1

    def _on_outcome(self, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, AnswerInstead):
            self._answers.reply(outcome.arrived, outcome.status, now, outcome.phrase, outcome.extra)
            if outcome.phrase is not None:
                self._note_refusal(outcome)
            return
        if isinstance(outcome, Waits):
            if outcome.arrived.request.method == "INVITE":
                # So that the phone stops repeating itself, and may cancel (9.1).
                self._layer.respond(outcome.arrived.transaction, make_trying(outcome.arrived.request), now)
            return
        self._ways.note_phone(outcome.arrived.source.remote.host)
        self._layer.transport.prove(outcome.arrived.source.hop, outcome.user)
        try:
            self._admit(outcome.arrived, outcome.user, now)
        except BadMessage as error:
            self._on_bad(outcome.arrived, error, now)
        if crowd := self._layer.transport.crowd_of(outcome.user):
            self._layer.transport.thin_out(outcome.user, self._needed(crowd))

    def _needed(self, flows: Sequence[int]) -> set[int]:
        """Those of these connections by which a phone is reached, or has a call, or waits for an answer."""
        busy = ways_of(self._proxy.contexts)
        return {
            flow for flow in flows if self._bindings.are_on(flow) or self._calls.is_on(flow) or FlowHop(flow) in busy
        }

    def _is_over(self, request: Request, response: Response, now: float) -> bool:
        """True if somebody has said goodbye to the call that a response is of."""
        return self._goodbyes.has(call_key(request.call_id, request.from_.tag, response.to.tag), now)

    def _note_refusal(self, refused: AnswerInstead) -> None:
        request = refused.arrived.request
        facts = {
            "method": request.method,
            "from": str(request.from_.uri),
            "source": str(refused.arrived.source),
            "why": refused.phrase,
        }
        self._effects.append(Note("phone refused", facts, is_warning=True))

    def _admit(self, arrived: RequestArrived, user: str | None, now: float, caller: Caller = UNKNOWN) -> None:
        request = arrived.request
        self._guard.note(request, now)
        if request.method == "BYE":
            self._calls.end(request.call_id)
            self._goodbyes.note(call_key(request.call_id, request.from_.tag, request.to.tag), now)
            # Many know the Call-ID, as lamps tell it; the tags know those who are in the call.
            self.state.end_calls(request.call_id, now, frozenset({request.from_.tag, request.to.tag}))
        if request.sip_uri.scheme == "sips" and not self._layer.transport.is_secure(arrived.source.hop):
            what = f"sips: asks for TLS, and this request came over {arrived.source.transport}: dial sip: instead"
            self._answers.reply(arrived, 416, now, None, (reason_field(416, what),))
        elif request.method == "REGISTER" and user is not None and is_own_domain(request.sip_uri, self._config):
            changed = self._answers.register(arrived, user, now)
            self._effects += [] if changed is None else [changed]
        elif self._is_for_us(request):
            self._answers.serve(arrived, now)
        elif request.max_forwards == 0:
            # 16.3 step 3: "If the request contains a Max-Forwards header field with a field value of zero (0), the
            # element MUST NOT forward the request." Who serves it himself does not look at it.
            self._answers.reply(arrived, 483, now)
        elif user is not None and self._is_to_oneself(request, user) and not _is_for_others(request):
            self._answers.refuse_method(arrived, now)
        else:
            if arrived.source.peer is None and not request.to.tag:
                arrived = replace(arrived, request=marked(request, user, self._config.numbering))
            self._proxy.start(arrived, user, now, self._in_call(arrived, caller))

    def _says_who_it_is(self, request: Request) -> bool:
        """True if From of a request of another peer is to be proved: as it begins something, or as whoever sends it
        within a call is not whom it was with (RFC 4916).
        """
        known = self._guard.known_as(request)
        if known is not None:
            return not is_same(request.from_.uri, known.uri)
        return request.begins and not self._is_for_us(request)

    def _in_call(self, arrived: RequestArrived, caller: Caller) -> Caller:
        """Who sends a request within a call: of a phone here the token says whose it is."""
        known = self._guard.known_as(arrived.request)
        if known is None:
            return caller
        token = routing.sender_token(arrived.request, arrived.source, self._config, self._tokens)
        is_phone = arrived.source.peer is None and token is not None
        return replace(caller, user=token.user if is_phone and token is not None else caller.user, known_as=known)

    def _is_to_oneself(self, request: Request, user: str) -> bool:
        """True for a request outside of a dialog to the sender's own AoR."""
        uri = request.sip_uri
        return not request.to.tag and is_own_domain(uri, self._config) and uri.user_name.lower() == user.lower()


def _is_for_others(request: Request) -> bool:
    """True for what may be meant for somebody else, where it is to the sender's own name."""
    return request.method in TO_OTHER_PHONES or is_about_state(request)
