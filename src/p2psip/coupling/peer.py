"""A peer: a node of the overlay and the SIP server of a site, as one core.

Theory of operation. Inputs go to the part that they are for; then `_settle` carries what the parts say to each other
until all is quiet: questions of the SIP server are answered from the overlay, connections that the overlay makes
become flows of the SIP server, phones that come and go move the records of their lines. What is left over is for the
driver.

Tokens of questions to the driver: the node's are positive, those of the SIP server's agents are negative.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from p2psip.base.address import Address
from p2psip.base.effects import AskAnswered, Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, earliest, is_due
from p2psip.base.user_keys import aor_of
from p2psip.base.wallclock import WallClock
from p2psip.coupling.call_paths import (
    CallFlowOver,
    CallFlowUp,
    CallLinkOver,
    FlowWatched,
    FrameHeard,
    MessageHeard,
    PathWanted,
    PeerDoubted,
    WriteRecord,
    is_call_flow,
)
from p2psip.coupling.callers import CallerContext, Callers
from p2psip.coupling.directory.directory_keeper import DirectoryKeeper
from p2psip.coupling.enquiries.lookup import LookupContext, Lookups
from p2psip.coupling.enquiries.operator_enquiries import OperatorEnquiries
from p2psip.coupling.enquiries.tracing import TraceContext, Traces
from p2psip.coupling.gruu import peer_in
from p2psip.coupling.line import Line
from p2psip.coupling.line_records.home_keeper import HomeContext, HomeKeeper
from p2psip.coupling.line_records.withdrawals import RemovalContext
from p2psip.coupling.lines import PublishContext, Publisher
from p2psip.coupling.locating import LocateContext, Locator, ResponsibleContext
from p2psip.coupling.mailbox.errands import ErrandContext
from p2psip.coupling.mailbox.mailboxes import Mailboxes
from p2psip.coupling.numbers.dundi_numbers import DundiNumbers, NumberContext
from p2psip.coupling.numbers.gateways import Gateways, GatewaysKnown
from p2psip.coupling.other_ways import OtherWays
from p2psip.coupling.peer_flows import FlowOver, PeerFlows, PlaceContext, flow_of, is_peer_flow, link_of
from p2psip.coupling.peer_news import BYTES_THAT_LEAVE, BindingsToKeep, MessagesCounted, Stopped
from p2psip.coupling.server_questions import OverlayAnswers, ServerAsks, ServerCancels, of_server
from p2psip.coupling.services.rooms import Rooms
from p2psip.coupling.services.service_users import ServiceUsers
from p2psip.dundi.values import EntityTerms
from p2psip.media.relay.sides import SendFrame
from p2psip.reload.config.document import Document
from p2psip.reload.node.choosing.service_chooser import ServiceChooser
from p2psip.reload.node.connecting.twins import SameNodeId
from p2psip.reload.node.effects import (
    AppLinkDoubted,
    AppLinkDown,
    AppLinkFailed,
    AppLinkUp,
    ConfigurationChanged,
    Done,
    LinkUp,
    PeerLost,
    RingChanged,
    Write,
)
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery
from p2psip.reload.node.tunnelling.tunnel_commands import (
    CloseTunnel,
    TunnelFailed,
    TunnelledRecord,
    WriteTunnel,
    is_tunnel,
)
from p2psip.reload.paths.values import HangUp, PathEvent, Purpose
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.outcome import Answer
from p2psip.sip.entities.agents.own_agents import agents_of
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.mailbox.by_mailbox import TEXT_AGENT
from p2psip.sip.entities.mailbox.mailbox_questions import TextWaiting
from p2psip.sip.entities.overlays.crossing import Crossed, CrossedOver, OverlayEnded, ways_to
from p2psip.sip.entities.registrar.bindings import BindingsChanged
from p2psip.sip.entities.registrar.targets import phone_mark
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.entities.server import SipServer
from p2psip.sip.transports.arrivals import Arrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, SendFlow


class Peer(OperatorEnquiries):
    """One peer."""

    def __init__(
        self,
        node: Node,
        server: ServerConfig,
        rng: random.Random,
        now: float,
        trunks: Sequence[TrunkTerms] = (),
        dundi: EntityTerms | None = None,
    ) -> None:
        self.node = node
        self.overlay = node.configuration.instance_name
        queue = self._queue = TimerQueue()
        self.publisher = Publisher(node, queue)
        self.directory = DirectoryKeeper(node, self.publisher, server.numbering.plan, queue)
        own = partial(peer_in, self.overlay, len(node.node_id))
        self.handlings = Handlings()
        self.handlings.use_date(node.wall)
        self.mailboxes = Mailboxes(node, self.publisher, self.handlings, self.overlay, rng, queue)
        here = replace(server.overlays, has_line=self.publisher.has, is_connected=lambda: node.is_connected)
        named = replace(server, peer_in=own, name_of=self.directory.name_of, overlays=here)
        server = replace(named, has_mailboxes=self.mailboxes.are_there)
        self.homes = HomeKeeper(node, self.publisher, queue)
        trunked = [Trunk(terms, server.peer_side, rng) for terms in trunks]
        agents = agents_of(server, self.handlings, rng)
        self.server = SipServer(
            server,
            rng,
            agents,
            resolvers=(OtherWays(node, self.publisher),),
            handlings=self.handlings,
            trunks=trunked,
        )
        self.server.set_wall_clock(node.wall)
        self.flows = PeerFlows(node, queue)
        self.services = ServiceDiscovery(node, queue)
        self.chooser = ServiceChooser(node, self.services, rng, queue)
        self.gateways = Gateways(node, self.services, self.chooser, trunked, self.overlay)
        known = (self.overlay, self.directory.has, here.phones_at)
        self.locator = Locator(node, self.server, self.publisher, self.gateways, *known, queue)
        self.callers = Callers(node, self.publisher, self.overlay)
        self.lookups = Lookups(node, self.locator)
        self.traces = Traces(node)
        plan = server.numbering.plan
        self.dundi = DundiNumbers(dundi, node, self.publisher, self.locator, self.gateways, plan, rng)
        self.rooms = Rooms(node, self.services, self.chooser, self.server, agents, self.overlay, queue)
        self.users = ServiceUsers(self.services, self.chooser, self.gateways, self.dundi, self.rooms)
        others = (self.users, self.flows, self.callers, self.mailboxes)
        self._answers = OverlayAnswers(self.server, self.publisher, self.locator, *others, self.overlay)
        # Cores by themselves, and parts that have their timers in the queue.
        self._cores = (node, self.server, self.dundi)
        queued = (self.publisher, self.homes, self.locator, self.services, self.chooser)
        self._timed = (*self._cores, *queued, self.rooms, self.flows, self.directory, self.mailboxes)
        asked = (self.publisher, self.locator, self.callers, self.flows, self.lookups, self.traces, self.services)
        kept = (self.directory, self.mailboxes)
        self._speaking = (*asked, self.dundi, self.chooser, self.gateways, self.rooms, *kept, node)
        self.began_at = now
        self.joined_at: float | None = None
        self._is_stopping = False
        self._has_stopped = False
        self._effects: list[Effect] = []

    # Commands

    def start(self, now: float) -> None:
        """Join the overlay, for ever."""
        self.node.start(now)
        self.server.start(now)
        self.dundi.start(now)
        self.rooms.start(now)
        self._settle(now)

    def add_line(self, line: Line, now: float, handling: CallHandling | None = None) -> None:
        """Serve a line from now on, its calls as before if its owner wants nothing else."""
        self.handlings.set(line.name, handling or self.handlings.of(line.name) or CallHandling())
        self.publisher.add(line, now)
        self.directory.line_added(line, now)
        self.mailboxes.line_added(line, now)
        self._record_handling(line.name, now)
        self._settle(now)

    def handle_calls(self, name: str, handling: CallHandling, now: float) -> None:
        """The owner of a line wants this of its calls from now on."""
        self.handlings.set(name, handling)
        self._record_handling(name, now)
        self._settle(now)

    def remove_line(self, name: str, now: float) -> None:
        """Serve a line no more: its phones are forgotten, its record is removed."""
        self.homes.forget(name, now)
        if (line := self.publisher.get(name)) is not None:
            self.directory.line_removed(line, now)
            self.mailboxes.line_removed(name, now)
        self.publisher.remove(name, now)
        self.handlings.remove(name)
        self.server.remove_user(name, now)
        self._settle(now)

    def finish_removal(self, identity: Identity, now: float) -> None:
        """A line was removed before this start, its record perhaps not; `LineWithdrawn` follows."""
        self.publisher.finish_removal(identity, now)
        self._settle(now)

    def restore(self, registrations: bytes, elapsed_s: float, now: float) -> None:
        """Take up the registrations of a snapshot that was made `elapsed_s` ago, of those who still have a line.

        Raises LocalMisuse if it cannot be read.
        """
        self.server.restore(registrations, now, elapsed_s)
        for user in self.server.users():
            if self.publisher.get(user) is None:
                self.server.remove_user(user, now)
        self._settle(now)

    def use_identity(self, identity: Identity, now: float) -> None:
        """Sign with this peer's renewed certificate from now on."""
        self.node.use_identity(identity, now)
        self._settle(now)

    def accept_configuration(self, raw: bytes, now: float) -> None:
        """A configuration document from the operator. Raises a Rejection if it is not to be followed."""
        self.node.accept_configuration(raw, now)
        self._settle(now)

    def accept_proven(self, document: Document, now: float) -> None:
        """A document proven by the trust anchor's fingerprint, as at the first time. Raises a Rejection."""
        self.node.accept_proven(document, now)
        self._settle(now)

    def stop(self, now: float) -> None:
        """Leave cleanly: first the records of our lines go, then we do; `Stopped` follows."""
        self._is_stopping = True
        self.rooms.stop(now)
        # What that has them say is on its way before the server answers all that is not.
        self._carry(now)
        self.server.stop(now)
        self.directory.stop()
        self.mailboxes.stop()
        self.publisher.withdraw_all(now)
        self.services.unregister_all(now)
        self._settle(now)

    def use_addresses(
        self,
        addresses: Mapping[Purpose, tuple[Address, ...]],
        own: Iterable[str],
        now: float,
        hosts: tuple[str, ...] = (),
    ) -> None:
        """Other peers reach us at `addresses` from now on, phones at any of `own`, the best first."""
        self.server.use_addresses(own)
        self.node.use_addresses(addresses, now, hosts)
        self._settle(now)

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date has jumped, or is trusted now."""
        self.node.set_wall_clock(wall, now)
        self.server.set_wall_clock(wall)
        self.handlings.use_date(wall)
        self._settle(now)

    # Links between peers

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection, beside that it is up or down."""
        self.node.handle_path(event, now)
        self._settle(now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """A connection with another node is up."""
        self.node.handle_link_up(link, now)
        self._settle(now)

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over it."""
        if number in self.flows.calls:
            for record in self.flows.calls.streams.records_in(number, data):
                self._heard(number, record, now)
        elif number in self.flows:
            flow = flow_of(number)
            self.flows.heard(number, data, now, is_between_messages=self.server.is_between_messages(flow))
            self.server.handle(FlowData(flow, data), now)
        else:
            self.node.handle_link_data(number, data, now)
        self._settle(now)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """It is down, or never came up."""
        if number in self.flows.calls:
            self._close_path(number, reason, now)
        elif self.flows.down(number):
            self.server.handle(FlowDown(flow_of(number), reason), now)
        else:
            self.node.handle_link_down(number, reason, now)
        self._settle(now)

    # Phones

    def handle_sip(self, arrival: Arrival, now: float) -> None:
        """Something came from a phone."""
        self.server.handle(arrival, now)
        self._settle(now)

    def handle_trunk(self, name: str, arrival: Arrival, now: float) -> None:
        """Something came in at the sockets of a trunk."""
        self.server.handle_wire(name, arrival, now)
        self._settle(now)

    def handle_dundi(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to the port for DUNDi."""
        self.dundi.handle_datagram(remote, data, now)
        self._settle(now)

    def handle_crossed(self, crossed: Crossed, now: float) -> None:
        """The peer of this site in another overlay has something for this one."""
        self.server.order(crossed.agent, CrossedOver(crossed.data), now)
        self._settle(now)

    def overlay_ended(self, overlay: str, why: str, now: float) -> None:
        """There is no peer of this site in another overlay any more."""
        for agent in ways_to(overlay):
            self.server.order(agent, OverlayEnded(why), now)
        self._settle(now)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address of an agent."""
        self.server.handle_media(local, remote, data, now)
        self._settle(now)

    def handle_relayed(self, now: float) -> None:
        """The relay has taken something, and has perhaps something to say."""
        self._settle(now)

    def frame_write(self, sent: SendFrame, now: float) -> Write | None:
        """What takes a frame to another peer at once; None if nothing does, and `handle_frame` is to see to it."""
        calls, node = self.flows.calls, NodeId.fromhex(str(sent.path))
        link = calls.link_for_frame(node, now)
        if link is None or not self.node.app_link_may_send(link, now):
            return None
        return calls.streams.write(link, sent.frame)

    def handle_frame(self, sent: SendFrame, now: float) -> None:
        """A frame is to go to another peer, to which there is no path."""
        self.flows.calls.send_frame(NodeId.fromhex(str(sent.path)), sent.frame, now)
        self._settle(now)

    def handle_ports(self, port: int, is_open: bool, now: float) -> None:
        """A pair of ports for calls that go through here is open, or is not to be had."""
        self.server.relay.handle_ports(port, is_open, now)
        self._settle(now)

    def handle_engine(self, data: bytes, now: float) -> None:
        """A datagram came from where the media engine is."""
        self.server.relay.handle_engine(data, now)
        self._settle(now)

    # Answers and time

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask."""
        if token < 0:
            self.server.handle_answer(-token, answer, now)
        else:
            self.node.handle_answer(token, answer, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for part in self._timed if is_due(self._queue, now) else self._cores:
            if is_due(part, now):
                part.handle_timeout(now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([part.next_deadline() for part in (self._queue, *self._cores)])

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _record_handling(self, name: str, now: float) -> None:
        """The record of a line leads callers at once to whom all its calls are forwarded."""
        handling = self.handlings.of(name)
        to = handling.in_record if handling is not None else ""
        self.publisher.forward(name, aor_of(to, self.overlay) if to else "", now)
        homes = handling.homes if handling is not None else ()
        self.homes.use(name, tuple(map(NodeId.fromhex, homes)), now)
        self.mailboxes.handling_changed(name, now)

    def _settle(self, now: float) -> None:
        self._carry(now)
        self.users.tell_loads(now)
        if self._is_stopping and not (self.publisher.is_withdrawing or self.services.is_withdrawing):
            self.node.leave(now)
            self._carry(now)
        if self._is_stopping and not self._has_stopped and self.node.has_left:
            self._has_stopped = True
            self._effects.append(Stopped())

    def _carry(self, now: float) -> None:
        """What one part says goes to the others, until all are quiet."""
        are_quiet = False
        while not are_quiet:
            are_quiet = True
            for effect in self._collect():
                if type(effect) in BYTES_THAT_LEAVE:
                    self._effects.append(effect)
                else:
                    are_quiet = False
                    self._handle(effect, now)

    def _collect(self) -> list[Effect]:
        """What the parts want now."""
        own = [effect for part in self._speaking for effect in part.drain()]
        return [*own, *map(of_server, self.server.drain())]

    def _handle(self, effect: Effect, now: float) -> None:
        match effect:
            case ServerAsks(token, question):
                self._answers.answer(token, question, now)
            case AskAnswered(token, answer):
                self.server.handle_answer(token, answer, now)
            case Done(context, result):
                self._done(context, result, now)
            case ServerCancels(token):
                self._answers.cancel(token)
            case AppLinkUp() if effect.datagram_bytes is not None:
                self.flows.call_path_up(effect, now)
            case AppLinkUp(link, node, remote, local):
                self.flows.up(effect, now)
                self._effects.append(Write(link, self.flows.ping(link, now)))
                here, there = Address(*local), Address(*remote)
                self.server.handle(FlowUp(flow_of(link), "TLS", here, there, node.hex()), now)
            case AppLinkDoubted(link):
                self.flows.calls.doubted(link)
            case AppLinkDown(link, reason) if link in self.flows.calls:
                self._close_path(link, reason, now)
            case AppLinkDown(link, reason):
                self.flows.down(link)
                self.server.handle(FlowDown(flow_of(link), reason), now)
            case FlowOver(link, reason):
                self._effects.append(HangUp(link, reason))
                self.flows.down(link)
                self.server.handle(FlowDown(flow_of(link), reason), now)
            case AppLinkFailed():
                self.flows.failed(effect, now)
            case RingChanged():
                self._ring_changed(effect, now)
            case PeerLost():
                self.publisher.look_after(now)
            case ConfigurationChanged():
                self.homes.reconsider(now)
                self.directory.reconsider(now)
                self.mailboxes.joined(now)
                self._effects.append(effect)
            case SameNodeId():
                self.publisher.restore_all(now)
            case BindingsChanged():
                self._phones_changed(effect, now)
            case HandlingChanged(user):
                self._record_handling(user, now)
                self._effects.append(effect)
            case SendFlow(flow, data) if is_call_flow(flow):
                self.flows.calls.send(flow, data, now)
            case CloseFlow(flow) if is_call_flow(flow):
                self.flows.calls.close(flow, "closed by the SIP server")
            case SendFlow(flow, data) if is_peer_flow(flow):
                # One that has ended since the server wrote is told to the server as well; what was written is lost.
                if (link := link_of(flow)) in self.flows:
                    self._effects.append(Write(link, self.flows.outgoing(link, data, now)))
            case CloseFlow(flow) if is_peer_flow(flow):
                self.flows.down(link_of(flow))
                self._effects.append(HangUp(link_of(flow), "closed by the SIP server"))
            case _:
                self._handle_ways_of_calls(effect, now)

    def _ring_changed(self, changed: RingChanged, now: float) -> None:
        if changed.is_member:
            self.joined_at = self.joined_at or now
            self.publisher.joined(now)
            self.publisher.look_after(now)
            self.homes.reconsider(now)
            self.directory.joined(now)
            self.mailboxes.joined(now)
            self.services.joined(now)
        else:
            self.joined_at = None
        self._effects.append(changed)

    def _phones_changed(self, changed: BindingsChanged, now: float) -> None:
        phones = frozenset(
            (str(binding.contact), binding.call_id, phone_mark(changed.user, binding)) for binding in changed.bindings
        )
        self.publisher.phones_changed(changed.user, phones, now)
        self.directory.phones_changed(changed.user, has_phones=bool(phones), now=now)
        self.mailboxes.phones_changed(changed.user, has_phones=bool(phones), now=now)
        self._effects.append(BindingsToKeep(changed.user))

    def _handle_ways_of_calls(self, effect: Effect, now: float) -> None:
        """What concerns services, and the paths that carry calls; what does not is the driver's."""
        if self.users.handle(effect, now):
            return
        match effect:
            case GatewaysKnown(LocateContext()):
                self.locator.handle_gateways(effect, now)
            case MessagesCounted(user, counts):
                self.server.note_messages(user, counts, now)
            case TextWaiting():
                self.server.order(TEXT_AGENT, effect, now)
            case RequestCarried():
                self.mailboxes.note_carried(effect, now)
                self._effects.append(effect)
            case TunnelledRecord(link, record):
                if link in self.flows.calls:
                    self._heard(link, record, now)
            case TunnelFailed():
                self.flows.tunnel_failed(effect, now)
            case WriteRecord(link, record) if is_tunnel(link):
                self.node.tunnel(WriteTunnel(link, record), now)
            case CallLinkOver(link, reason) if is_tunnel(link):
                self.node.tunnel(CloseTunnel(link, reason), now)
                self.flows.calls.down(link, reason, now)
            case WriteRecord(link, record):
                if self.node.app_link_may_send(link, now):
                    self._effects.append(self.flows.calls.streams.write(link, record))
            case CallFlowUp(flow, up, lacks):
                ends, peer = (up.local, up.remote), up.node.hex()
                self.server.handle(FlowUp(flow, "DTLS-UDP", *ends, peer, is_relayed=up.is_relayed, lacks=lacks), now)
            case CallFlowOver(flow, reason):
                self.server.handle(FlowDown(flow, reason), now)
            case CallLinkOver(link, reason):
                self._effects.append(HangUp(link, reason))
                self._close_path(link, reason, now)
            case SendFrame(path, frame):
                self.flows.calls.send_frame(NodeId.fromhex(str(path)), frame, now)
            case FlowWatched(flow):
                if not self.server.awaits(flow):
                    return
                if is_call_flow(flow):
                    self.flows.calls.watch(flow, now)
                elif link_of(flow) in self.flows:
                    self.flows.watch(link_of(flow), now)
            case PathWanted(node):
                self.flows.want_path(node, now)
            case PeerDoubted(node):
                self.flows.ask_for(node, now)
            case _:
                self._effects.append(effect)

    def _heard(self, link: int, record: bytes, now: float) -> None:
        if not is_tunnel(link):
            self.node.app_link_heard(link, now)
        match self.flows.calls.heard(link, record, now):
            case MessageHeard(flow, message):
                self.server.handle(FlowData(flow, message), now)
            case FrameHeard(node, frame):
                self.server.relay.handle_frame(node.hex(), frame, now)

    def _close_path(self, link: int, reason: str, now: float) -> None:
        """A link that carries calls is gone, on both its sides."""
        self.node.app_link_down(link)
        self.flows.calls.down(link, reason, now)

    def _done(self, context: object, result: Answer | RequestFailed, now: float) -> None:
        """A request of one of our parts is over."""
        match context:
            case PublishContext(published):
                self.publisher.handle_done(published, result, now)
            case HomeContext():
                self.homes.handle_done(context, result, now)
            case RemovalContext():
                self.publisher.handle_removed(context, result, now)
            case LocateContext() | ResponsibleContext():
                self.locator.handle_done(context, result, now)
            case CallerContext(fetching):
                self.callers.handle_done(fetching, result, now)
            case PlaceContext():
                self.flows.handle_done(context, result, now)
            case LookupContext(lookup):
                self.lookups.handle_done(lookup, result, now)
            case TraceContext(trace):
                self.traces.handle_done(trace, result, now)
            case NumberContext():
                self.dundi.handle_done(context, result, now)
            case ErrandContext():
                self.mailboxes.handle_done(context, result, now)
            case _:
                self.users.handle_done(context, result, now)
