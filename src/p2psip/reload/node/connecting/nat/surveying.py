"""Surveys of what this node is behind, with other members, and what members ask of it for theirs (RFC 5780).

Whom a member can have us send a probe to: to an address from which a Binding request came to us, at the host at which
its own link with us ends; or, for another member that we are linked with, to an address that this one has looked at so.
A probe is a datagram of 28 bytes for a signed request of some hundreds, and how many there are is bounded by member and
by host (docs/decisions/nat-survey.md).
"""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

from p2psip.base.address import Address, without_zone
from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.link.link import LinkState
from p2psip.reload.node.connecting.connection_table import Connection, ConnectionTable
from p2psip.reload.node.connecting.contacts import Contacts
from p2psip.reload.node.effects import ReachChanged, ReachSurveyed
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.candidates import OwnPort
from p2psip.reload.paths.ice.candidate_addresses import CandidateType, is_of_one_host
from p2psip.reload.paths.limits import (
    SURVEY_HELPERS_MAX,
    SURVEY_PROBES_PER_HOST,
    SURVEY_PROBES_PER_MEMBER,
    SURVEY_SPARES_MAX,
    SURVEY_TOKENS_MAX,
)
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.paths.nat.survey import AskHelper, Survey, SurveyHelper, probe
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import (
    CloseSpare,
    Purpose,
    SendSpare,
    SendStun,
    SpareArrived,
    SpareOpened,
    StunArrived,
)
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.reload.wire.private_messages import REACH, PrivateAns, PrivateReq, ProbeWay, ReachAns, ReachReq
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage, NotFound, RequestTimeout
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import BINDING, MessageClass, NotStun, decode
from p2psip.turn.peers import Scope, scope_of

SOON_S: Final = 10.0
"""How long, on average, after there are members to ask, or our addresses are others, a survey begins: links come up one
after the other."""

UNSURE_S: Final = 60.0
"""The same after one that has left something open: there were too few members to ask."""

AGAIN_S: Final = 1800.0
"""How long, on average, until the next: a router that was replaced, a port that was forwarded."""

TOKENS_S: Final = 180.0
"""How long it is remembered where a Binding request came from: longer than a mapping is watched."""

SPARE_OPEN_S: Final = 10.0
"""How long a further port answers, which was opened for another member's survey."""

TO_HOST: Final = f" to {CandidateType.HOST.words}"
"""Of a pair whose other end is at an address of its own. If that is global anybody gets in there, without a relay as
well, if UDP passes at all.
"""

MEMBERS_TRIED_MAX: Final = 2
AVOID_MAX: Final = 64
"""How many nodes may be named that are not to send a probe."""

ASK_TRANSMISSIONS: Final = 2
TOKEN = slice(8, 20)
QUESTION_BYTES_MAX: Final = 64
"""A Binding request without USERNAME is shorter."""


@dataclass(frozen=True, slots=True)
class SurveyContext:
    """A question of our own survey, and whom it is to."""

    number: int
    node: NodeId


@dataclass(frozen=True, slots=True)
class OnBehalfContext:
    """A member was asked to send a probe for another one; `tried` are those that were asked, of which so many before
    were `busy`.
    """

    request: Received
    body: ReachReq
    source: Address
    tried: tuple[NodeId, ...]
    busy: int


_Body = TypeVar("_Body", ReachReq, ReachAns)


class _Heard(NamedTuple):
    local: Address
    remote: Address
    at: float


class Surveying:
    """The surveys of one node: its own, and its part in those of others."""

    def __init__(
        self, exchange: Exchange, connections: ConnectionTable, paths: Paths, contacts: Contacts, rng: random.Random
    ) -> None:
        self.reach = Reach(0.0)
        self._exchange = exchange
        self._connections = connections
        self._paths = paths
        self._contacts = contacts
        self._rng = rng
        self._queue = TimerQueue(exchange.queue)
        self._timers: Timers[str | int] = self._queue.scope()
        self._spares = itertools.count(1)
        self._survey: Survey | None = None
        self._unsure_s = UNSURE_S
        self._helpers = 0
        """How many members the last survey asked."""
        self._heard: OrderedDict[bytes, _Heard] = OrderedDict()
        self._opening: dict[int, tuple[Received, ReachReq, Address]] = {}
        self._lent: dict[int, Address] = {}
        """Further ports that were opened for another's survey, and for whom."""
        self._by_member: Attempts[NodeId] = Attempts(Allowance(SURVEY_PROBES_PER_MEMBER, 5.0))
        self._by_host: Attempts[str] = Attempts(Allowance(SURVEY_PROBES_PER_HOST, 10.0))

    # Our own

    def links_changed(self, now: float) -> None:
        """There may be somebody to ask, or more than at the last survey."""
        if self._paths.whereabouts.has_ice and "survey" not in self._timers and self._survey is None:
            helpers = len(self._find_helpers())
            if helpers > self._helpers and self._helpers < SURVEY_HELPERS_MAX:
                self._begin_later(SOON_S, now)

    def addresses_changed(self, now: float) -> None:
        """What is known is of no use any more."""
        self._helpers = 0
        if self._paths.whereabouts.has_ice:
            self._begin_later(SOON_S, now)

    def datagrams_cease(self, asked: int, now: float) -> None:
        """None of so many members outside answers over datagrams, and one does over a stream: that is so until a survey
        has found something else, which begins at once.
        """
        self._know_at_once(Reach(now, helpers=asked, is_udp_blocked=True), now)

    def datagrams_pass(self, now: float) -> None:
        """They do again."""
        self._know_at_once(replace(self.reach, at=now, is_udp_blocked=False), now)

    def _know_at_once(self, reach: Reach, now: float) -> None:
        if self._survey is not None:
            # It has asked when it was otherwise.
            self._survey.close()
            self._pass_on(now)
        self.reach = reach
        self._exchange.emit(ReachChanged(reach))
        self.begin(now)

    def begin(self, now: float, *, wants_lifetime: bool = False) -> None:
        """Begin a survey, unless one is under way: ReachSurveyed follows in any case."""
        if self._survey is not None and not self._survey.is_over:
            return
        if self._survey is not None:
            self._survey.close()
            self._pass_on(now)
        helpers = self._find_helpers()
        self._helpers = len(helpers)
        self._begin_later(AGAIN_S if helpers else UNSURE_S, now)
        if not helpers:
            self._exchange.emit(ReachSurveyed(self.reach, len(self.open_ports())))
            return
        known = frozenset(without_zone(link.remote.host) for link in self._connections.all())
        rng, queue, spares = self._rng, self._queue, self._spares
        given = self._paths.whereabouts.mapped.get(OwnPort(Purpose.RELOAD, is_stream=False))
        mapped = None if given is None else given.address
        self._survey = Survey(helpers, known, spares, rng, now, queue, wants_lifetime=wants_lifetime, mapped=mapped)
        self._pass_on(now)

    def handle_outcome(self, context: SurveyContext | OnBehalfContext, outcome: Outcome, now: float) -> None:
        """A member has answered, or has not."""
        body = outcome.body if isinstance(outcome, Answer) else None
        found = self._decoded(body.body, ReachAns) if isinstance(body, PrivateAns) else None
        is_busy = isinstance(outcome, Refused) and outcome.code is ErrorCode.REQUEST_TIMEOUT
        if isinstance(context, SurveyContext):
            if self._survey is not None:
                if is_busy:
                    self._survey.handle_busy(context.number, now)
                else:
                    # Whoever else is asked in its place says that it is not there.
                    is_there = isinstance(outcome, Answer | Refused) and outcome.signer.node_id == context.node
                    self._survey.handle_answer(context.number, found, now, is_there=is_there)
                self._pass_on(now)
        elif found is not None:
            self._answer(context.request, ReachAns(0, context.tried[-1:]))
        else:
            busy = context.busy + is_busy
            self._have_another_send(context.request, context.body, context.source, context.tried, now, busy=busy)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Begin, go on, close what was lent."""
        for key in self._timers.pop_due(now):
            if isinstance(key, int):
                self._lent.pop(key, None)
                self._opening.pop(key, None)
                self._exchange.emit(CloseSpare(key))
            else:
                self.begin(now, wants_lifetime=True)
        if self._survey is not None:
            self._survey.handle_timeout(now)
            self._pass_on(now)

    def _begin_later(self, mean_s: float, now: float) -> None:
        self._timers.set("survey", now + mean_s * self._rng.uniform(0.5, 1.5), "survey of what we are behind")

    def _find_helpers(self) -> list[SurveyHelper]:
        """Members that we are linked with, at different hosts, those first that are where most are: the others may be
        on our side of a NAT.
        """
        found: dict[str, SurveyHelper] = {}
        for connection in self._connections.all():
            address = self._port_of(connection)
            if connection.link.state is LinkState.UP and address is not None:
                is_over_udp = connection.kind is not OverlayLinkType.TLS_TCP_FH_NO_ICE
                is_certain = is_over_udp or self._open_port_of(connection) is not None
                found.setdefault(address.host, SurveyHelper(connection.node, address, is_certain))
        version = 6 if found and all(":" in host for host in found) else 4
        helpers = [each for host, each in found.items() if (":" in host) is (version == 6)]
        own = set(self._paths.whereabouts.hosts)
        helpers = [each for each in helpers if each.address.host not in own]
        self._rng.shuffle(helpers)
        is_open = {address for _, address in self.open_ports()}
        order = {each: (scope_of(each.address.host).value, each.address not in is_open) for each in helpers}
        return sorted(helpers, key=lambda each: order[each])[:SURVEY_HELPERS_MAX]

    def open_ports(self) -> list[tuple[NodeId, Address]]:
        """Members that we are linked with, and where each has its port of links, over UDP and TCP; of those that may be
        dialled there from anywhere, as far as the link shows it.
        """
        found = {link.node: at for link in self._connections.all() if (at := self._open_port_of(link)) is not None}
        return list(found.items())

    def _open_port_of(self, connection: Connection) -> Address | None:
        pair = self._paths.pair_of(connection.number)
        if pair is None:
            # Numbers that are ours are even: there we have dialled it, unless both ends opened the connection.
            is_dialled = connection.number % 2 == 0 and not self._paths.is_opened_by_both(connection.number)
            at = connection.remote if is_dialled else None
        else:
            at = pair.remote if pair.types.endswith(TO_HOST) else None
        return at if at is not None and scope_of(at.host) is Scope.GLOBAL and self._has_family_of(at.host) else None

    def _has_family_of(self, host: str) -> bool:
        """True if this machine can send there: a relay may have families of addresses that it lacks."""
        own = [each.host for each in self._paths.whereabouts.own(Purpose.RELOAD)]
        if ":" in host:
            return any(":" in each and scope_of(each) is Scope.GLOBAL for each in own)
        return any(":" not in each for each in own)

    def _port_of(self, connection: Connection) -> Address | None:
        """Where the other end of a link has its port of links over UDP."""
        if (at := self._open_port_of(connection)) is not None:
            return at
        pair = self._paths.pair_of(connection.number)
        if pair is not None:
            return None if "relayed" in pair.types else pair.remote
        if connection.kind is not OverlayLinkType.TLS_TCP_FH_NO_ICE:
            return connection.remote
        kinds = {each.without_ice for each in self._paths.whereabouts.link_types(Purpose.RELOAD)}
        return self._contacts.get(connection.node) if OverlayLinkType.DTLS_UDP_SR_NO_ICE in kinds else None

    def _pass_on(self, now: float) -> None:
        survey = self._survey
        assert survey is not None, "there is one"
        for effect in survey.drain():
            if isinstance(effect, AskHelper):
                self._ask(effect, survey, now)
            else:
                self._exchange.emit(effect)
        if survey.reach != self.reach and survey.is_over:
            before, self.reach = self.reach, survey.reach
            if before.at != self.reach.at:
                self._exchange.emit(ReachSurveyed(self.reach, len(self.open_ports())))
                if self.reach.is_sure:
                    self._unsure_s = UNSURE_S
                else:
                    # Where there is nobody more to ask it is asked less and less often.
                    self._begin_later(self._unsure_s, now)
                    self._unsure_s = min(2 * self._unsure_s, AGAIN_S)
            self._exchange.emit(ReachChanged(self.reach))
        if survey.is_done:
            self._survey = None

    def _ask(self, asked: AskHelper, survey: Survey, now: float) -> None:
        linked = tuple(self._connections) if asked.is_stranger_wanted else ()
        avoid = (*asked.avoid, *linked)[:AVOID_MAX]
        mapped = None if asked.mapped is None else IpAddressPort.of(asked.mapped.host, asked.mapped.port)
        body = PrivateReq(REACH, ReachReq(asked.way, asked.token, avoid, mapped).encode())
        context = SurveyContext(asked.number, asked.node)
        if (
            self._exchange.to_node(
                asked.node, MessageCode.PRIVATE_REQ, body, context, now, transmissions_max=ASK_TRANSMISSIONS
            )
            is None
        ):
            survey.handle_answer(asked.number, None, now, is_there=False)

    # From the driver

    def handle_stun(self, arrived: StunArrived, now: float) -> bool:
        """A STUN message has come to the port of links; True if it is of a survey of ours.

        Without ICE nobody else answers who asks as whom we see him: 6.5.1.4 has every peer be a STUN server.
        """
        data = arrived.data
        if data[:2] == b"\0\1" and len(data) <= QUESTION_BYTES_MAX and _is_question(data):
            self._remember(data[TOKEN], arrived, now)
            if not self._paths.whereabouts.has_ice and (answer := answer_binding(data, arrived.remote)) is not None:
                self._exchange.emit(SendStun(arrived.local, arrived.remote, answer))
        if self._survey is None or not self._survey.handle_stun(None, arrived.local, arrived.remote, data, now):
            return False
        self._pass_on(now)
        return True

    def handle_spare(self, event: SpareOpened | SpareArrived, now: float) -> None:
        """Something has happened at a further port."""
        if isinstance(event, SpareOpened):
            if event.spare in self._opening:
                request, _, self._lent[event.spare] = self._opening.pop(event.spare)
                self._answer(request, ReachAns(event.local.port, ()))
            elif self._survey is not None:
                self._survey.handle_opened(event.spare, event.local)
        elif (asker := self._lent.get(event.spare)) is not None:
            # Whoever else finds the port is told nothing.
            if event.remote.host == asker.host and (answer := answer_binding(event.data, event.remote)) is not None:
                self._exchange.emit(SendSpare(event.spare, event.remote, answer))
        elif self._survey is not None:
            self._survey.handle_stun(event.spare, None, event.remote, event.data, now)
            self._pass_on(now)

    def _remember(self, token: bytes, arrived: StunArrived, now: float) -> None:
        self._heard[bytes(token)] = _Heard(arrived.local, arrived.remote, now)
        self._heard.move_to_end(bytes(token))
        while len(self._heard) > SURVEY_TOKENS_MAX:
            self._heard.popitem(last=False)

    # Others'

    def serve(self, request: Received, data: bytes, now: float) -> None:
        """A member asks for a probe. Raises a Rejection."""
        body = self._decoded(data, ReachReq)
        if body is None or len(body.token) != TOKEN.stop - TOKEN.start or len(body.avoid) > AVOID_MAX:
            raise InvalidMessage("no request for a probe")
        asker = request.signer.node_id
        link = self._connections.get(asker)
        if link is None or request.previous_hop != asker:
            raise Forbidden("probes are for members that are linked with this one, and ask over that link")
        if self._by_member.wait_s(asker, now):
            raise RequestTimeout("too many probes")
        self._by_member.charge(asker, now)
        if body.way is ProbeWay.ON_BEHALF:
            self._send_on_behalf(request, body, link, now)
            return
        source = self._source(body.token, link, now)
        if body.way is ProbeWay.SAME_PORT:
            self._exchange.emit(SendStun(self._heard[body.token].local, source, probe(body.token)))
            self._answer(request, ReachAns(0, ()))
        elif body.way is ProbeWay.OTHER_PORT:
            self._send_from_other_port(request, body, source, now)
        elif body.way is ProbeWay.OTHER_PORT_TO_MAPPED:
            self._send_from_other_port(request, body, self._mapped(body, source), now)
        elif body.way is ProbeWay.OTHER_MEMBER_TO_MAPPED:
            self._have_another_send(request, body, self._mapped(body, source), (), now)
        else:
            self._have_another_send(request, body, source, (), now)

    def _source(self, token: bytes, link: Connection, now: float) -> Address:
        """Where the Binding request came from, if that is where the link ends. Raises a Rejection."""
        heard = self._heard.get(token)
        if heard is None or heard.at + TOKENS_S < now:
            raise NotFound("no such Binding request has come")
        pair = self._paths.pair_of(link.number)
        if heard.remote.host != (link.remote if pair is None else pair.remote).host:
            raise Forbidden("that Binding request came from elsewhere than this link")
        return heard.remote

    @staticmethod
    def _mapped(body: ReachReq, source: Address) -> Address:
        """Another port of where the Binding request came from. Raises a Rejection."""
        host_port = None if body.address is None else body.address.host_port
        if host_port is None or host_port[0] != source.host or not host_port[1]:
            raise Forbidden("that is another host than the one from which the Binding request came")
        return Address(*host_port)

    def _send_from_other_port(self, request: Received, body: ReachReq, source: Address, now: float) -> None:
        if len(self._lent) + len(self._opening) >= SURVEY_SPARES_MAX:
            raise RequestTimeout("too many ports are open")
        spare = next(self._spares)
        self._opening[spare] = request, body, source
        self._timers.set(spare, now + SPARE_OPEN_S, "a port that was lent")
        self._exchange.emit(SendSpare(spare, source, probe(body.token)))

    def _have_another_send(
        self, request: Received, body: ReachReq, source: Address, tried: Sequence[NodeId], now: float, *, busy: int = 0
    ) -> None:
        """Ask one that is at another host than we and the asker."""
        avoid = {request.signer.node_id, *body.avoid, *tried}
        scope = scope_of(source.host)
        others = [
            link.node
            for link in self._connections.all()
            if link.node not in avoid
            and link.link.state is LinkState.UP
            and link.remote.host != source.host
            and scope_of(link.remote.host) is scope
        ]
        if not others or len(tried) >= MEMBERS_TRIED_MAX:
            nobody = RequestTimeout("too many probes") if busy else NotFound("there is nobody else to send it")
            self._exchange.reject(request, nobody.response)
            return
        other = self._rng.choice(others)
        asked = ReachReq(ProbeWay.ON_BEHALF, body.token, (), IpAddressPort.of(without_zone(source.host), source.port))
        context = OnBehalfContext(request, body, source, (*tried, other), busy)
        sent = self._exchange.to_node(
            other,
            MessageCode.PRIVATE_REQ,
            PrivateReq(REACH, asked.encode()),
            context,
            now,
            transmissions_max=ASK_TRANSMISSIONS,
        )
        if sent is None:
            self._exchange.reject(request, RequestTimeout("too many requests under way").response)

    def _send_on_behalf(self, request: Received, body: ReachReq, link: Connection, now: float) -> None:
        host_port = None if body.address is None else body.address.host_port
        if host_port is None or not is_of_one_host(host_port[0]) or not host_port[1]:
            raise InvalidMessage("a probe to nowhere")
        target = Address(*host_port)
        if scope_of(target.host) is not scope_of(link.remote.host):
            # Nobody has us send to what is behind our own walls.
            raise Forbidden("that is not where the one that asks is")
        if self._by_host.wait_s(target.host, now):
            raise RequestTimeout("too many probes to that host")
        self._by_host.charge(target.host, now)
        self._exchange.emit(SendStun(None, target, probe(body.token)))
        self._answer(request, ReachAns(0, ()))

    def _answer(self, request: Received, answer: ReachAns) -> None:
        self._exchange.answer(request, PrivateAns(answer.encode()))

    def _decoded(self, data: bytes, kind: type[_Body]) -> _Body | None:
        try:
            return kind.decode(data, node_id_length=self._exchange.configuration.node_id_length)
        except DecodeError:
            return None


def _is_question(data: bytes) -> bool:
    try:
        message = decode(data)
    except NotStun:
        return False
    return (message.message_class, message.method) == (MessageClass.REQUEST, BINDING)
