"""A trunk: an account at a telephone provider, or at a PBX, as an agent of its peer (docs/decisions/gateways.md).

Theory of operation. Towards the overlay it is an agent as others are (agents/agent_table.py): the server delivers what
is for it, and carries what it says. Towards the trunk it has sockets of its own, which the driver opens when it has
found the server (`FindTrunk`), so that nobody else's messages come in there. It registers, asks now and then whether
the server is there (OPTIONS), and is up while both go well. Each call is a `Bridge` between the two sides.

        outside --FindTrunk--> placed --REGISTER, OPTIONS--> up <--> down (asked again by itself)
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.base.effects import Asks, Effect, Note
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.sip.dialogs.dialog import DialogId
from p2psip.sip.entities.agents.agent_requests import Pending, Wiring
from p2psip.sip.entities.agents.digest_credentials import DigestCredentials
from p2psip.sip.entities.agents.registration import PART as REGISTRATION
from p2psip.sip.entities.agents.registration import Registration
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallId,
    EndedBy,
    Registered,
    RegistrationFailed,
    ToServer,
    Unregistered,
)
from p2psip.sip.entities.bodies import SDP
from p2psip.sip.entities.gateway import passing
from p2psip.sip.entities.gateway.bridged_call import Bridge
from p2psip.sip.entities.gateway.call_sides import FAR, NEAR, NEVER, BridgeAlarm, CallSide, FarInvite
from p2psip.sip.entities.gateway.health import Health, KeepAlive
from p2psip.sip.entities.gateway.limits import (
    AGAIN_S,
    FIND_S_MAX,
    LINGER_S,
    LINGERING_MAX,
    STRANGERS_TOLD,
    TRANSACTIONS_MAX,
)
from p2psip.sip.entities.gateway.people import (
    called_by_trunk,
    called_outside,
    caller_of,
    number_in,
    shown_to_trunk,
    shown_to_us,
)
from p2psip.sip.entities.gateway.servers import Servers
from p2psip.sip.entities.gateway.terms import (
    GATEWAY_PARAM,
    FindTrunk,
    ForTrunk,
    TrunkFacts,
    TrunkFound,
    TrunkNotFound,
    TrunkTerms,
)
from p2psip.sip.entities.gateway.transferring import Replaced, replaced_by
from p2psip.sip.message.build import METHODS, make_response, phrase_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, escape_user
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
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowDown
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import Hop, Source, StreamHop, UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener, TransportLayer

OVERLAY: Final = 0
TRUNK: Final = 1
"""The two sides of a trunk, and by which of them a call came."""

_FIND, _ASK = "find the trunk", "ask whether the trunk is there"


class Trunk:
    """One trunk (an `AgentCore`, and a `WiredAgent`)."""

    def __init__(self, terms: TrunkTerms, peer_side: SipUri, rng: random.Random) -> None:
        """`peer_side` is the GRUU of its peer."""
        self.terms = terms
        self.name = terms.agent
        self._realm = peer_side.host
        # A phone may be told to call this (RFC 3891), so from everywhere it leads to this peer.
        self._contact = peer_side.replace(
            user=escape_user(self.name), params=(*peer_side.params, (GATEWAY_PARAM, None))
        )
        self._rng = rng
        self._asks: Asks[CallId] = Asks(limit=1)
        self._overlay = self._wiring_to_overlay()
        self._trunk: Wiring | None = None
        self._registration: Registration | None = None
        self._keep_alive = KeepAlive(self)
        self.health = Health(terms)
        self._servers = Servers(terms)
        self._local: Address | None = None
        """Our own address towards them, once there is a socket."""
        self._bridges: dict[int, tuple[Bridge, int]] = {}
        """And by which side each call came."""
        self._numbers = itertools.count(1)
        self._served = 0
        self._strangers = 0
        self._timers: Timers[tuple[int, BridgeAlarm | str]] = Timers()
        self._effects: list[Effect] = []
        self._is_stopped = False

    # What others want to know

    @property
    def calls(self) -> int:
        """How many there are."""
        return sum(not bridge.is_over for bridge, _ in self._bridges.values())

    @property
    def has_room(self) -> bool:
        """True if one more call may go out or come in."""
        return self.calls < self.terms.calls_max

    @property
    def facing(self) -> tuple[str, str] | None:
        """Our address as the trunk knows it, and its own: where the media of its calls comes from and goes to."""
        if self._local is None:
            return None
        return self._local.host, self._present.host

    @property
    def facts(self) -> TrunkFacts:
        """How it does."""
        h, remote = self.health, self._servers.present
        return TrunkFacts(
            self.terms, h.is_up, h.is_registered, h.since, self.calls, self._served,
            h.failure, h.failed_at, self._strangers, remote,
        )  # fmt: skip

    def is_meant(self, user: str) -> bool:
        """False: who calls is led here by a resolver, which knows where else he could be led (by_gateway.py)."""
        return False

    def start(self, now: float) -> None:
        """Find the server, and stay with it."""
        self._timers.set((0, _FIND), now, _FIND)

    def stop(self, now: float) -> None:
        """The peer is about to end: calls end, and the server is told that we go."""
        self._is_stopped = True
        for bridge, _ in [*self._bridges.values()]:
            bridge.end(480, "the gateway is being stopped", now)
        if self._registration is not None:
            self._registration.stop(now)
        self._run(now)

    # Inputs

    def handle_message(self, data: bytes, now: float) -> None:
        """agent_table.AgentCore: the server delivers a SIP message."""
        self._overlay.transactions.handle(Datagram(LOCAL_ADDRESS, LOCAL_ADDRESS, data), now)
        self._run(now)

    def handle_wire(self, arrival: Arrival, now: float) -> None:
        """Something came in at the trunk's own sockets."""
        if self._trunk is None:
            return
        if isinstance(arrival, Datagram) and not self._is_theirs(arrival.remote):
            self._note_stranger(arrival.remote)
            return
        self._trunk.transactions.handle(arrival, now)
        self._run(now)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """agent_table.AgentCore: its media goes through the peer's relay."""

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """agent_table.AgentCore: the answer to FindTrunk."""
        if self._asks.answered(token) is None:
            return
        if isinstance(answer, TrunkFound):
            self._place(answer, now)
        else:
            assert isinstance(answer, TrunkNotFound), f"FindTrunk is not answered by {answer}"
            self._not_found(answer.reason, now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for wiring in self._wirings():
            wiring.transactions.handle_timeout(now)
        self._run(now)
        for _ in self._asks.expired(now):
            self._not_found(f"{self.terms.host} was not found in {FIND_S_MAX:g} s", now)
        self._keep_alive.handle_timeout(now)
        for number, alarm in self._timers.pop_due(now):
            self._on_alarm(number, alarm, now)
        if self._trunk is not None and self._registration is not None:
            for part, _ in self._trunk.timers.pop_due(now):
                assert part == REGISTRATION, "nothing else of a trunk has a timer there"
                self._registration.handle_timer(now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        wirings = self._wirings()
        own = [self._timers.next_deadline(), self._asks.next_deadline(), self._keep_alive.next_deadline()]
        of_sides = [each.next_deadline() for wiring in wirings for each in (wiring.transactions, wiring.timers)]
        return earliest([*own, *of_sides])

    def drain(self) -> list[Effect]:
        """What is to be done: ToServer, ForTrunk, Ask(FindTrunk), TrunkChanged, Notes."""
        effects, self._effects = [*self._effects, *self.health.drain()], []
        return effects

    # Where the trunk is

    @property
    def _present(self) -> Address:
        assert self._servers.present is not None, "asked only when it is found"
        return self._servers.present

    def _find(self, now: float) -> None:
        if not self._asks.is_full:
            self._effects.append(self._asks.ask(FindTrunk(self.terms), 0, now + FIND_S_MAX))

    def _not_found(self, reason: str, now: float) -> None:
        self.health.failed(reason, now)
        self._timers.set((0, _FIND), now + AGAIN_S, _FIND)

    def _place(self, found: TrunkFound, now: float) -> None:
        """The server is there: speak to it, over the connection that there is if nothing has changed."""
        before = self._servers.present
        self._servers.find(found.remotes, now)
        if self._trunk is not None and found.local == self._local:
            self._use_present(before, now)
            self._ask(now)
            return
        for bridge, _ in [*self._bridges.values()]:
            bridge.end(480, "the gateway's address has changed", now)
        self._run(now)
        self._bridges.clear()
        self._local = found.local
        self._trunk = self._wiring_to_trunk(found.local)
        if self.terms.registers:
            self._registration = Registration(self._trunk)
            self._registration.start(now)
        self._ask(now)

    def _use_present(self, before: Address | None, now: float) -> None:
        """Speak to the present server, and register there if it was another one `before`."""
        if self._trunk is None or self._present == before:
            return
        self._trunk.config = replace(self._trunk.config, server=self._servers.hop(self._present))
        if self._registration is not None:
            self._registration.refresh(now)

    def _wiring_to_overlay(self) -> Wiring:
        listeners = (Listener("UDP", LOCAL_ADDRESS),)
        config = AgentConfig(self._contact.named, self._contact, UdpHop(LOCAL_ADDRESS), listeners, is_tethered=True)
        return self._wired(config, DigestCredentials("", "", self._rng))

    def _wiring_to_trunk(self, local: Address) -> Wiring:
        terms = self.terms
        param = () if terms.transport == "UDP" else (("transport", terms.transport.lower()),)
        host = f"[{local.host}]" if ":" in local.host else local.host
        config = AgentConfig(
            address_of_record=terms.account,
            contact=SipUri(without_zone(host), terms.user, local.port, param),
            server=self._servers.hop(self._present),
            listeners=(Listener("UDP", local), Listener("TCP", local), Listener("TLS", local)),
            is_tethered=True,
            passes=("PRACK", "UPDATE"),
            register_expires_s=terms.expires_s,
        )
        credentials = DigestCredentials(terms.auth_user or terms.user, terms.password, self._rng, reuses_nonces=True)
        return self._wired(config, credentials)

    def _wired(self, config: AgentConfig, credentials: DigestCredentials) -> Wiring:
        transport = TransportLayer(config.listeners)
        layer = TransactionLayer(transport, self._rng, config.timers, TRANSACTIONS_MAX)
        return Wiring(config, layer, self._rng, credentials, self._asks)

    def _wirings(self) -> list[Wiring]:
        return [self._overlay] if self._trunk is None else [self._overlay, self._trunk]

    def _is_theirs(self, remote: Address) -> bool:
        """True if a datagram is from the trunk, as far as its address says: nobody else is listened to."""
        return self._servers.are_at(remote.host) or any(
            isinstance(server, UdpHop) and server.remote.host == remote.host
            for server in (bridge.server_of(_which(TRUNK, came_by)) for bridge, came_by in self._bridges.values())
        )

    def _note_stranger(self, remote: Address) -> None:
        self._strangers += 1
        if self._strangers % STRANGERS_TOLD == 1:
            facts = {"trunk": self.terms.name, "from": str(remote), "count": self._strangers}
            self._effects.append(Note("not from the trunk", facts, is_warning=True))

    # Whether it is there

    def _ask(self, now: float) -> None:
        """Ask with OPTIONS, now and from then on; who is not to be asked is taken to be there."""
        if self._trunk is None:
            return
        if not self.terms.keep_alive_s:
            self.health.answered(now)
            return
        self._keep_alive.ask(self._trunk, now)
        every_s = self.terms.keep_alive_s if self.health.is_up else min(AGAIN_S, self.terms.keep_alive_s)
        self._timers.set((0, _ASK), now + every_s, _ASK)

    def note_alive(self, now: float) -> None:
        """health.KeepAlive: the server has answered."""
        self._servers.answer(self._present)
        self.health.answered(now)

    def note_silent(self, what: str, now: float) -> None:
        """health.KeepAlive: it has not."""
        self._on_failed(self._servers.hop(self._present), what, now)

    def _on_failed(self, server: Hop, what: str, now: float) -> bool:
        """The next server is spoken to. False if there is none that has not failed as well: then the trunk is down."""
        assert isinstance(server, UdpHop | StreamHop), "a trunk's server is at an address"
        before = self._present
        is_another = self._servers.fail(server.remote, now)
        self._use_present(before, now)
        if not is_another and self.terms.keep_alive_s:
            self.health.failed(what, now)
            self._timers.set((0, _FIND), now + AGAIN_S, _FIND)
        elif self._present != before:
            self._ask(now)
        return is_another

    def _on_registration(self, effect: Effect, now: float) -> None:
        match effect:
            case Registered():
                self.health.registered(now)
            case RegistrationFailed(reason, _, server):
                why = f"REGISTER: {reason}"
                # RFC 3263 4.3: "failure occurs if the transaction layer reports a 503 error response or a transport
                # failure of some sort".
                is_servers = reason.by is EndedBy.NOBODY or reason.status in (408, 503)
                if not (is_servers and self._on_failed(server, why, now)):
                    self.health.not_registered(why, now)
            case Unregistered():
                self.health.not_registered("not registered any more", now)

    # Events

    def _run(self, now: float) -> None:
        is_busy = True
        while is_busy:
            is_busy = False
            for side, wiring in enumerate(self._wirings()):
                for event in wiring.transactions.events():
                    is_busy = True
                    self._on_event(side, wiring, event, now)
                for effect in wiring.effects:
                    self._on_registration(effect, now)
                wiring.effects.clear()
        self._look_at_bridges(now)
        self._carry()

    def _carry(self) -> None:
        for effect in self._overlay.transactions.drain():
            assert isinstance(effect, SendUdp), "inside this process there are only datagrams"
            self._effects.append(ToServer(effect.data))
        if self._trunk is not None:
            self._effects += [
                effect if isinstance(effect, Note) else ForTrunk(self.terms.name, effect)
                for effect in self._trunk.transactions.drain()
            ]

    def _on_event(self, side: int, wiring: Wiring, event: TuEvent, now: float) -> None:
        match event:
            case RequestArrived():
                try:
                    self._on_request(side, event, now)
                except BadMessage as error:
                    self._reply(side, event, error.status, now, phrase=f"Bad Request ({error.what})")
            case AckArrived(request):
                self._on_ack(side, request, now)
            case ResponseArrived(_, response, Pending() as pending):
                try:
                    wiring.handle_response(pending, response, now)
                except BadMessage as error:
                    wiring.handle_failure(pending, f"malformed answer: {error}", now)
            case TransactionFailed(_, _, what, Pending() as pending):
                wiring.handle_failure(pending, what, now)
            case TransactionEnded(transaction, Pending()):
                wiring.forget(transaction)
            case FlowDown() if side == TRUNK and self._registration is not None:
                self._registration.handle_flow_down(event, now)

    def _on_request(self, side: int, arrived: RequestArrived, now: float) -> None:
        request, allow = arrived.request, passing.allow(may_transfer=side == OVERLAY)
        if request.method == "CANCEL":
            # 9.2: answered here, hop by hop, whatever becomes of the INVITE.
            self._reply(side, arrived, 481 if arrived.cancels is None else 200, now)
            if arrived.cancels is not None:
                for bridge, came_by in self._bridges.values():
                    bridge.handle_cancel(_which(side, came_by), arrived.cancels, request, now)
        elif request.to.tag:
            self._on_request_in_dialog(side, arrived, now)
        elif unknown := passing.unsupported(request, may_transfer=side == OVERLAY):
            self._reply(side, arrived, 420, now, ("Unsupported", ", ".join(unknown)))
        elif request.method == "INVITE":
            self._on_invite(side, arrived, now)
        elif request.method == "OPTIONS":
            self._reply(side, arrived, 200, now, ("Allow", allow), ("Accept", SDP))
        else:
            self._reply(side, arrived, 405 if request.method in METHODS else 501, now, ("Allow", allow))

    def _on_request_in_dialog(self, side: int, arrived: RequestArrived, now: float) -> None:
        if (found := self._bridge_of(side, arrived.request)) is None:
            self._reply(side, arrived, 481, now)
        else:
            found[0].handle_request(found[1], arrived, now)

    def _on_ack(self, side: int, ack: Request, now: float) -> None:
        try:
            found = self._bridge_of(side, ack)
        except BadMessage:
            return
        if found is not None:
            bridge, which = found
            bridge.handle_ack(which, ack, now)

    def _bridge_of(self, side: int, request: Request) -> tuple[Bridge, int] | None:
        """The call that a request of this side is within, and whether that is its near side or its far one."""
        return self._bridge_with(side, DialogId.of_request(request))

    def _bridge_with(self, side: int, dialog: DialogId) -> tuple[Bridge, int] | None:
        for bridge, came_by in self._bridges.values():
            which = _which(side, came_by)
            if bridge.side_of(dialog) == which:
                return bridge, which
        return None

    # Calls

    def _on_invite(self, side: int, arrived: RequestArrived, now: float) -> None:
        request = arrived.request
        if any(is_merged(request, bridge.invite) for bridge, came_by in self._bridges.values() if came_by == side):
            self._reply(side, arrived, 482, now)
        elif request.max_forwards == 0:
            self._reply(side, arrived, 483, now)
        elif self._is_stopped or self._trunk is None:
            self._refuse(side, arrived, 503, f"{self._label} is not there", now)
        elif side == TRUNK:
            self._call_in(arrived, now)
        elif (wanted := replaced_by(request)) is not None:
            self._take_place(wanted, arrived, now)
        else:
            self._call_out(arrived, now)

    def has_dialog(self, dialog: DialogId) -> bool:
        """True for a dialog of one of its calls with somebody of the overlay."""
        return self._bridge_with(OVERLAY, dialog) is not None

    def _take_place(self, wanted: Replaced, arrived: RequestArrived, now: float) -> None:
        """RFC 3891: somebody was told to go on with a call, and knows its tags."""
        found = self._bridge_with(OVERLAY, wanted.dialog)
        status = 481 if found is None else found[0].replace(wanted, arrived, now)
        if status:
            self._reply(OVERLAY, arrived, status, now)

    def _call_out(self, arrived: RequestArrived, now: float) -> None:
        """Somebody of the overlay calls a number."""
        request, terms = arrived.request, self.terms
        number = number_in(request.uri)
        caller = caller_of(request, self._realm)
        if terms.reach(number) is None:
            self._refuse(OVERLAY, arrived, 404, f"{self._label} does not reach {number or request.uri_text[:80]}", now)
        elif not terms.may_call(caller.user, is_member=caller.is_member, number=number):
            who = caller.user or "who does not say who he is"
            self._refuse(OVERLAY, arrived, 403, f"{self._label} is not for {who}", now)
        elif not self.has_room and number not in terms.emergency:
            self._refuse(OVERLAY, arrived, 503, f"all {terms.calls_max} calls of {self._label} are taken", now)
        else:
            outgoing = escape_user(terms.outgoing(number))
            target = SipUri(terms.realm, outgoing)
            others = [self._servers.hop(each) for each in self._servers.in_turn(now)[1:]]
            routes = () if self._registration is None else self._registration.service_route
            far = FarInvite(target, *shown_to_trunk(terms, caller, target), routes=routes, others=others)
            self._bridge(OVERLAY, arrived, far, self._label, called_outside(number, terms, self._realm), now)

    def _call_in(self, arrived: RequestArrived, now: float) -> None:
        """The trunk calls one of our numbers."""
        request, terms = arrived.request, self.terms
        called = called_by_trunk(request, terms)
        line = terms.line_of(called)
        if not line:
            self._refuse(TRUNK, arrived, 404, f"nobody here has the number {called}", now)
        elif not self.has_room:
            self._refuse(TRUNK, arrived, 486, f"all {terms.calls_max} calls are taken", now)
        else:
            target = SipUri(self._realm, escape_user(line))
            far = FarInvite(target, shown_to_us(request, terms, self._realm), NameAddr(target))
            self._bridge(TRUNK, arrived, far, "the overlay", far.from_, now)

    def _bridge(
        self, side: int, arrived: RequestArrived, far: FarInvite, far_name: str, known_as: NameAddr, now: float
    ) -> None:
        """`known_as` is the trunk's side to those of the overlay."""
        number = next(self._numbers)
        overlay = CallSide(self._overlay, self._overlay.config.server, stands_for=known_as)
        trunk = self._side_of_trunk(side, arrived.source)

        def arm(alarm: BridgeAlarm, at: float) -> None:
            self._arm(number, alarm, at)

        bridge = Bridge((overlay, trunk) if side == OVERLAY else (trunk, overlay), arrived, arm, far_name)
        self._bridges[number] = (bridge, side)
        self._served += 1
        bridge.begin(far, now)

    def _side_of_trunk(self, side: int, source: Source) -> CallSide:
        """Whom the trunk's side of a call is with: the present server, or whichever has called us."""
        assert self._trunk is not None, "looked at before"
        server = self._trunk.config.server if side == OVERLAY else self._servers.hop(source.remote)
        return CallSide(self._trunk, server, self._servers.hop_to, self._on_failed)

    def _arm(self, number: int, alarm: BridgeAlarm, at: float) -> None:
        if at == NEVER:
            self._timers.cancel((number, alarm))
        else:
            self._timers.set((number, alarm), at, alarm.value)

    def _on_alarm(self, number: int, alarm: BridgeAlarm | str, now: float) -> None:
        if alarm == _FIND:
            self._find(now)
        elif alarm == _ASK:
            self._ask(now)
        elif alarm is BridgeAlarm.GONE:
            self._bridges.pop(number, None)
        elif number in self._bridges and isinstance(alarm, BridgeAlarm):
            self._bridges[number][0].handle_alarm(alarm, now)

    def _look_at_bridges(self, now: float) -> None:
        """Calls that are over are remembered for a while: who has not heard our last word repeats his."""
        over = [number for number, (bridge, _) in self._bridges.items() if bridge.is_over]
        for number in over[: max(0, len(over) - LINGERING_MAX)]:
            self._timers.cancel((number, BridgeAlarm.GONE))
            del self._bridges[number]
        for number in over:
            if number in self._bridges and (number, BridgeAlarm.GONE) not in self._timers:
                self._arm(number, BridgeAlarm.GONE, now + LINGER_S)
                self._note_end(*self._bridges[number])

    def _note_end(self, bridge: Bridge, came_by: int) -> None:
        facts = {
            "trunk": self.terms.name,
            "direction": "out" if came_by == OVERLAY else "in",
            "answered": bridge.is_answered,
            "transfers": bridge.transfers,
            "end": str(bridge.ending),
        }
        self._effects.append(Note("trunk call over", facts))

    # Parts

    @property
    def _label(self) -> str:
        return f"the trunk {self.terms.name}"

    def _refuse(self, side: int, arrived: RequestArrived, status: int, what: str, now: float) -> None:
        if side == OVERLAY and status >= 500:
            self.health.failure, self.health.failed_at = what, now
        self._reply(side, arrived, status, now, ("Reason", Reason("SIP", status, what)))

    def _reply(
        self, side: int, arrived: RequestArrived, status: int, now: float, *extra: tuple[str, object], phrase: str = ""
    ) -> None:
        """Answer a request that is within no call."""
        layer = self._wirings()[side].transactions
        response = make_response(
            arrived.request, status, phrase or phrase_of(status), to_tag=layer.new_tag(), extra=extra
        )
        layer.respond(arrived.transaction, response, now)


def _which(side: int, came_by: int) -> int:
    """Which one of a call's sides a side of the trunk is."""
    return NEAR if came_by == side else FAR
