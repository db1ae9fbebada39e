"""The transport layer (RFC 3261 section 18): datagrams, connections, Via, where a response goes.

What happens here and nowhere else: the topmost Via of a request gets `received` and `rport` when it comes in
(18.2.1, RFC 3581) and its sent-by when it goes out (18.1.1); connections are opened, shared, bounded and closed;
keep-alives are answered. A request that is too long for UDP goes over TCP (18.1.1), where the phone says itself that it
is at that very address, and accepts connections there: only the way by which it has registered leads through a NAT.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.address import Address, without_zone
from p2psip.base.effects import Effect, Note
from p2psip.base.frozen import frozen
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.media.relay.policy import network_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import Via
from p2psip.sip.message.message import Message, Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, Uri, default_port
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp, FromAgent
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp, ToAgent
from p2psip.sip.transports.flow_table import FlowTable, SipFlow, TransportLimits
from p2psip.sip.transports.framing import framing_of
from p2psip.sip.transports.hops import (
    DEFAULT_PORTS,
    BoundHop,
    FlowHop,
    Hop,
    LocalHop,
    Source,
    StreamHop,
    StreamTransport,
    Transport,
    UdpHop,
    hop_back,
)
from p2psip.sip.transports.own_addresses import WILDCARDS, OwnAddresses, as_host, as_numeric
from p2psip.sip.transports.web_origins import WebOrigins

DATAGRAM_BYTES_MAX = 65_507

DATAGRAM_REQUEST_BYTES = 1300
"""Section 18.1.1: longer requests go over TCP, "based on the assumption of a 1500 byte Ethernet MTU"."""

PING = "a ping is due"

LOCAL_ADDRESS = Address("127.0.0.1", 5060)
"""What stands for the address of a user agent inside this process."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where we listen. What comes in at "0.0.0.0" or "::" comes to an own address, and the driver says to which."""

    transport: Transport
    local: Address


@frozen
class MessageArrived:
    """A message came in; a request's Via is stamped already."""

    message: Message
    source: Source


@dataclass(frozen=True, slots=True)
class Malformed:
    """Something came in that is no message; `error.request`, if any, can be answered."""

    error: BadMessage
    source: Source


TransportEvent: TypeAlias = MessageArrived | Malformed | FlowDown


class TransportLayer:
    """All transports of one SIP element."""

    def __init__(
        self,
        listeners: tuple[Listener, ...],
        peer_sent_by: str = "peer.invalid",
        limits: TransportLimits | None = None,
        own: OwnAddresses | None = None,
        origins: WebOrigins | None = None,
        queue: TimerQueue | None = None,
    ) -> None:
        """`origins` are the web pages whose browsers may connect; `queue` is of the core that this is a part of."""
        self._listeners = listeners
        self._udp_locals = tuple(listener.local for listener in listeners if listener.transport == "UDP")
        self._own = own or OwnAddresses()
        self._origins = origins or WebOrigins(addresses=self._own)
        self._peer_sent_by = peer_sent_by
        self._limits = limits or TransportLimits()
        self._flows = FlowTable(self._limits)
        self._deaf_until: dict[Address, float] = {}
        """Where nobody accepts connections, and until when that is believed."""
        self._numbers = itertools.count(2, 2)
        self._timers: Timers[int] = Timers(queue)
        self._effects: list[Effect] = []

    # Inputs

    def handle(self, arrival: Arrival, now: float) -> list[TransportEvent]:
        """Something came in."""
        match arrival:
            case Datagram(local, remote, data):
                return self._on_datagram(local, remote, data)
            case FlowData(flow, data):
                return self._on_data(flow, data, now)
            case FromAgent(name, data):
                return [self._read(data, Source(LocalHop(name), "UDP", LOCAL_ADDRESS))]
            case FlowUp():
                self._on_up(arrival, now)
                return []
            case FlowDown(flow):
                state = self._flows.get(flow)
                if state is None:
                    return []
                self._forget(state, now)
                return [arrival]

    def handle_timeout(self, now: float) -> list[TransportEvent]:
        """Close what took too long."""
        events: list[TransportEvent] = []
        for flow in self._timers.pop_due(now):
            state = self._flows[flow]
            due = self._due(state)
            if due is None or due.at > now:
                self._arm(state)
            elif due.reason == PING:
                self._ping(state, now)
            else:
                events += self._close(state, due.reason, now)
        return events

    # Calls from above

    def bind(self, hop: Hop, now: float) -> BoundHop | None:
        """What `hop` comes down to, a connection begun if it needs one; None if it leads nowhere."""
        match hop:
            case UdpHop(remote, local) if local is None or not self._is_present(local):
                local = self._udp_local(remote)
                return None if local is None else UdpHop(remote, local)
            case StreamHop():
                return self._bind_stream(hop, now)
            case FlowHop(flow):
                return hop if flow in self._flows else None
        return hop

    def switched(self, hop: UdpHop, uri: Uri, now: float, *, may_connect: bool = True) -> FlowHop | None:
        """By what a request for `uri` goes that is too long for a datagram; None if in one all the same."""
        if not _names(uri, hop.remote):
            return None
        number = self._flows.to("TCP", hop.remote)
        if number is None and may_connect and not self.is_deaf(hop.remote, now):
            number = self._open("TCP", hop.remote, now, self._limits.switch_s, self._limits.switched_idle_s)
        return None if number is None else FlowHop(number)

    def is_deaf(self, remote: Address, now: float) -> bool:
        """True if nobody has accepted a connection at this address, not long ago."""
        return self._deaf_until.get(remote, now) > now

    def via(self, hop: BoundHop, branch: str) -> Via:
        """The Via for a request over `hop` (section 18.1.1)."""
        far = self.far_end(hop)
        if far.peer is not None:
            return Via(far.transport, self._peer_sent_by, None, (("branch", branch),))
        host, port = self.advertised(far)
        return Via(far.transport, as_host(host), port, (("branch", branch), ("rport", None)))

    def send(self, hop: BoundHop, data: bytes, now: float) -> bool:
        """Send; False if that is not possible any more."""
        match hop:
            case UdpHop(remote, local) if local is not None and len(data) <= DATAGRAM_BYTES_MAX:
                self._effects.append(SendUdp(local, remote, data))
                return True
            case FlowHop(flow) if flow in self._flows:
                return self._send_flow(self._flows[flow], data)
            case LocalHop(name):
                self._effects.append(ToAgent(name, data))
                return True
        return False

    def response_hop(self, source: Source, via: Via) -> Hop:
        """Where the response to a request from `source`, with `via` on top, goes (section 18.2.2)."""
        hop = source.hop
        if isinstance(hop, UdpHop):
            # RFC 3581 section 4: to the source port if `rport` was there; else to the port in sent-by. Never to
            # `maddr` or to a `received` that somebody else wrote: that would send packets to strangers.
            port = source.remote.port if via.rport is not None else via.port or 5060
            return UdpHop(Address(source.remote.host, port), hop.local)
        if not isinstance(hop, FlowHop) or hop.flow in self._flows:
            return hop
        if source.peer is not None:
            newest = self._flows.of_peer(source.peer)
            return hop if newest is None else FlowHop(newest)
        listening = Address(source.remote.host, via.port or DEFAULT_PORTS[source.transport])
        # RFC 7118 5.3: "SIP responses can only be sent over the existing WebSocket connection".
        return hop_back(source.transport, listening) or hop

    def is_reliable(self, hop: BoundHop) -> bool:
        """True if what is sent there arrives or the connection is lost (section 17)."""
        return isinstance(hop, FlowHop) and not (
            hop.flow in self._flows and self._flows[hop.flow].transport == "DTLS-UDP"
        )

    def is_secure(self, hop: Hop) -> bool:
        """True if nobody on the way to there can read along: TLS (section 26.2.2), or this very process."""
        match hop:
            case StreamHop(transport):
                return transport == "TLS"
            case FlowHop(flow):
                # RFC 7118 9.2: if the path "includes a WebSocket connection, it MUST be a secure WebSocket connection".
                return flow in self._flows and self._flows[flow].transport not in ("TCP", "WS")
        return isinstance(hop, LocalHop)

    def is_beside(self, peer: Source) -> bool:
        """True if another peer is in our own network, by the connection that there is."""
        flow = self._flows.get(peer.hop.flow) if isinstance(peer.hop, FlowHop) else None
        return flow is not None and flow.is_beside

    def lacks(self, peer: Source) -> str:
        """What other than SIP does not go to another peer by the connection that there is, in words."""
        flow = self._flows.get(peer.hop.flow) if isinstance(peer.hop, FlowHop) else None
        return "" if flow is None else flow.lacks

    def flow_of_peer(self, peer: str) -> int | None:
        """The newest open connection with an overlay peer."""
        return self._flows.of_peer(peer)

    def is_between_messages(self, flow: int) -> bool:
        """True if nothing has come over a connection that waits for its rest; so of one that is gone."""
        return flow not in self._flows or self._flows[flow].framing.is_between_messages

    def expect_keep_alives(self, flow: int, silence_s: float) -> None:
        """Close a connection that has been silent for so long: its phone has promised more (RFC 5626 section 5.4)."""
        if flow in self._flows:
            self._flows[flow].idle_s = silence_s
            self._arm(self._flows[flow])

    def prove(self, hop: BoundHop, user: str) -> None:
        """`user` has shown over there that he knows his password: that connection makes room for nobody else's."""
        if isinstance(hop, FlowHop) and hop.flow in self._flows:
            self._flows.prove(self._flows[hop.flow], user)

    def crowd_of(self, user: str) -> tuple[int, ...]:
        """The connections of a user who has too many: `thin_out` is to be told which of them are needed."""
        return self._flows.crowd_of(user)

    def thin_out(self, user: str, needed: Collection[int]) -> None:
        """End as many connections of a user as he has too many: the eldest that are not needed, else the newest."""
        for flow in self._flows.too_many_of(user, needed):
            self._end(flow, "too many connections of one user")

    def far_end(self, hop: BoundHop) -> Source:
        """Who is at the other end of a hop that `bind` has just given."""
        match hop:
            case UdpHop(remote):
                return Source(hop, "UDP", remote)
            case FlowHop(number):
                return self._source(self._flows[number])
        return Source(hop, "UDP", LOCAL_ADDRESS)

    def is_own_via(self, via: Via) -> bool:
        """True if we have put this Via on a message, as far as its sent-by says."""
        if via.host == self._peer_sent_by and via.port is None:
            return True
        return self.is_own(as_numeric(via.host), via.port or 5060)

    def is_own(self, numeric: str | None, port: int) -> bool:
        """True for an address at which we are, or were just, spoken to."""
        hosts = {without_zone(one.local.host) for one in self._listeners if one.local.port == port}
        return numeric in hosts or (not hosts.isdisjoint(WILDCARDS) and numeric in self._own)

    def drain(self) -> list[Effect]:
        """The effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    # Reading

    def _on_datagram(self, local: Address, remote: Address, data: bytes) -> list[TransportEvent]:
        is_ours = local in self._udp_locals or any(is_at(local, one) for one in self._udp_locals)
        assert is_ours, f"{local} is not the address of a UDP listener"
        self._own.hear(local.host)
        framing, source = framing_of("UDP", remote, self._origins), Source(UdpHop(remote, local), "UDP", remote)
        events: list[TransportEvent] = [self._read(message, source) for message in framing.feed(data)]
        self._effects += [SendUdp(local, remote, reply) for reply in framing.take_replies()]
        return events

    def _on_data(self, flow: int, data: bytes, now: float) -> list[TransportEvent]:
        state = self._flows.get(flow)
        if state is None:
            return []
        state.active_at, state.pinged_at = now, None
        source, was_broken = self._source(state), state.framing.error is not None
        messages = state.framing.feed(data)
        events: list[TransportEvent] = [self._read(message, source) for message in messages]
        self._note_progress(state, bool(messages), now)
        self._effects += [SendFlow(flow, reply) for reply in state.framing.take_replies()]
        if state.framing.error is not None and not was_broken:
            self._note_refusal(state)
            events.append(_malformed(state.framing.error, source))
            # It is closed when it has been answered.
            self._arm(state)
        elif state.framing.ended:
            self._arm(state)
        return events

    def _note_refusal(self, flow: SipFlow) -> None:
        """Whoever looks for what is wrong with a web page finds it in the log: a browser tells the page nothing."""
        if flow.framing.refusal:
            facts = {"phone": str(flow.remote), "reason": flow.framing.refusal}
            self._effects.append(Note("no WebSocket with a phone", facts, is_warning=True))

    def _read(self, data: bytes, source: Source) -> TransportEvent:
        try:
            message = parse(data)
        except BadMessage as error:
            return _malformed(error, source)
        if isinstance(message, Request):
            message = _stamped(message, source)
        return MessageArrived(message, source)

    # Connections

    def _on_up(self, up: FlowUp, now: float) -> None:
        """A connection that we asked for is open, or somebody else's is accepted."""
        flow, transport, local, remote, peer = up.flow, up.transport, up.local, up.remote, up.peer
        if flow in self._flows:
            self._on_connected(self._flows[flow], peer, now)
        elif flow % 2 == 0:
            # Even numbers are ours: we have given this one up meanwhile.
            self._effects.append(CloseFlow(flow))
        elif not self._has_room(remote.host, peer):
            self._effects.append(CloseFlow(flow))
            self._note_crowd(remote, "not accepted")
        else:
            framing = framing_of(transport, remote, self._origins)
            self._add(SipFlow(flow, transport, remote, peer, True, now, framing, None, now), is_stranger=peer is None)
        if flow in self._flows:
            self._flows[flow].local_host, self._flows[flow].lacks = local.host, up.lacks
            here, there = network_of(without_zone(local.host)), network_of(without_zone(remote.host))
            self._flows[flow].is_beside = here == there and not up.is_relayed
            if peer is None:
                self._own.hear(local.host)

    def _source(self, flow: SipFlow) -> Source:
        return Source(FlowHop(flow.number), flow.transport, flow.remote, flow.peer)

    def _has_room(self, host: str, peer: str | None) -> bool:
        """Whether one more may be; if need be a stranger's has to go, of this host or of where most come from."""
        if not self._flows.is_full(host, peer):
            return True
        stranger = self._flows.in_the_way(host, peer)
        if stranger is not None:
            self._end(stranger, "too many connections, and nobody has proved himself over this one")
        return stranger is not None

    def _end(self, flow: SipFlow, reason: str) -> None:
        """It goes at once, and does not count any more."""
        self._flows.push_out(flow, reason)
        self._arm(flow)
        self._note_crowd(flow.remote, "ended")

    def _note_crowd(self, remote: Address, outcome: str) -> None:
        facts = {"remote": str(remote), "outcome": outcome}
        self._effects.append(Note("too many SIP connections", facts, is_warning=True))

    def _bind_stream(self, hop: StreamHop, now: float) -> BoundHop | None:
        number = self._flows.to(*hop)
        if number is None and hop.name == as_host(hop.remote.host):
            # Whoever has proved to be a domain may say by its address, in a dialog, where it is.
            number = self._flows.proved_at(hop.transport, hop.remote)
        if number is None:
            number = self._open(hop.transport, hop.remote, now, self._limits.connect_s, name=hop.name)
        return None if number is None else FlowHop(number)

    def _open(
        self,
        transport: StreamTransport,
        remote: Address,
        now: float,
        connect_s: float,
        idle_s: float | None = None,
        name: str = "",
    ) -> int | None:
        """The number of a new connection; None if there may be no more."""
        if not self._has_room(remote.host, None):
            return None
        number, framing = next(self._numbers), framing_of(transport, remote, self._origins)
        opened = SipFlow(number, transport, remote, None, False, now, framing, connect_s=connect_s, idle_s=idle_s)
        opened.name = name
        self._add(opened)
        self._effects.append(OpenFlow(number, transport, remote, name))
        return number

    def _add(self, flow: SipFlow, *, is_stranger: bool = False) -> None:
        self._flows.add(flow, is_stranger=is_stranger)
        self._arm(flow)

    def _on_connected(self, flow: SipFlow, peer: str | None, now: float) -> None:
        flow.is_open, flow.active_at = True, now
        if peer is not None:
            self._flows.is_with(flow, peer)
        self._effects += [SendFlow(flow.number, data) for data in flow.queue]
        flow.queue.clear()
        self._arm(flow)

    def _send_flow(self, flow: SipFlow, data: bytes) -> bool:
        if flow.is_open:
            if wrapped := flow.framing.wrap(data):
                self._effects.append(SendFlow(flow.number, wrapped))
            return bool(wrapped)
        if sum(map(len, flow.queue)) + len(data) > self._limits.queued_bytes:
            return False
        flow.queue.append(data)
        return True

    def _close(self, flow: SipFlow, reason: str, now: float) -> list[TransportEvent]:
        self._forget(flow, now)
        if goodbye := flow.framing.goodbye(reason):
            self._effects.append(SendFlow(flow.number, goodbye))
        self._effects.append(CloseFlow(flow.number))
        return [FlowDown(flow.number, reason)]

    def _forget(self, flow: SipFlow, now: float) -> None:
        self._flows.forget(flow)
        self._timers.cancel(flow.number)
        if flow.transport == "TCP" and not flow.is_open:
            self._deaf_until.pop(flow.remote, None)
            self._deaf_until[flow.remote] = now + self._limits.deaf_s
            if len(self._deaf_until) > self._limits.deaf:
                del self._deaf_until[next(iter(self._deaf_until))]

    # Time

    def _note_progress(self, flow: SipFlow, has_message: bool, now: float) -> None:
        before = flow.message_began_at
        if has_message:
            flow.message_began_at = None if flow.framing.is_between_messages else now
        elif before is None and not flow.framing.is_between_messages:
            flow.message_began_at = now
        # An idle connection's timer stays where it is: `active_at` is looked at when it fires.
        if flow.message_began_at != before:
            self._arm(flow)

    def _due(self, flow: SipFlow) -> Deadline | None:
        """When to lose patience with a connection, and why."""
        if flow.framing.error is not None:
            return Deadline(flow.active_at, flow.framing.error.what)
        if flow.framing.ended:
            return Deadline(flow.active_at, flow.framing.ended)
        if flow.pushed_out:
            return Deadline(flow.active_at, flow.pushed_out)
        if not flow.is_open:
            return Deadline(flow.active_at + flow.connect_s, "no connection in time")
        # Connections between peers live and die with their links; they are not ours to close.
        if flow.peer is not None:
            return None
        if flow.message_began_at is not None:
            return Deadline(flow.message_began_at + self._limits.message_s, "no whole message in time")
        if flow.pinged_at is not None:
            return Deadline(flow.pinged_at + self._limits.pong_s, "no answer to a ping")
        if flow.framing.is_pinged:
            return Deadline(flow.active_at + self._limits.ping_s, PING)
        return Deadline(flow.active_at + (flow.idle_s or self._limits.idle_s), "idle connection")

    def _ping(self, flow: SipFlow, now: float) -> None:
        """Nothing has come for a while: is the other end still there?"""
        self._effects.append(SendFlow(flow.number, flow.framing.ping()))
        flow.pinged_at = now
        self._arm(flow)

    def _arm(self, flow: SipFlow) -> None:
        due = self._due(flow)
        if due is None:
            self._timers.cancel(flow.number)
        else:
            self._timers.set(flow.number, due.at, due.reason)

    # Own addresses

    def _udp_local(self, remote: Address) -> Address | None:
        is_ipv6 = ":" in remote.host
        fitting = (
            one.local for one in self._listeners if one.transport == "UDP" and (":" in one.local.host) == is_ipv6
        )
        return next(fitting, None)

    def advertised(self, side: Source) -> Address:
        """The own address that `side` reaches us at: the one that it uses, where we know it."""
        host = self._local_host(side.hop)
        locals_ = [one.local for one in self._listeners if one.transport == side.transport]
        fitting = [one for one in locals_ if host is None or is_at(Address(host, one.port), one)]
        local = next(iter(fitting or locals_), self._listeners[0].local if self._listeners else LOCAL_ADDRESS)
        if local.host not in WILDCARDS:
            return local
        if host is None or host in WILDCARDS:
            host = self._own.best(local.host) or local.host
        return Address(host, local.port)

    def _local_host(self, hop: BoundHop) -> str | None:
        match hop:
            case UdpHop(_, local):
                return local.host if local is not None else None
            case FlowHop(flow) if flow in self._flows:
                return self._flows[flow].local_host
        return None

    def _is_present(self, local: Address) -> bool:
        """True if a datagram can leave from there: the machine may have moved since the address was noted."""
        return local in self._udp_locals or (
            without_zone(local.host) in self._own and any(is_at(local, one) for one in self._udp_locals)
        )


def _names(uri: Uri, remote: Address) -> bool:
    """True if a URI means this very address, by no name."""
    return (
        isinstance(uri, SipUri)
        and as_numeric(uri.host) == without_zone(remote.host)
        and default_port(uri) == remote.port
    )


def is_at(address: Address, local: Address) -> bool:
    """True if what comes to `address` comes in at the listener `local`, which may be one for all of its family."""
    if local.host not in WILDCARDS:
        return address == local
    return address.port == local.port and (":" in address.host) == (":" in local.host)


def _malformed(error: BadMessage, source: Source) -> Malformed:
    if error.request is not None:
        error.request = _stamped(error.request, source)
    return Malformed(error, source)


def _stamped(request: Request, source: Source) -> Request:
    """Note in the topmost Via where the request really came from (18.2.1, RFC 3581 section 4)."""
    via, host = request.via, without_zone(source.remote.host)
    stamped = via
    if via.rport is None and source.transport in ("WS", "WSS"):
        # RFC 7118 5.3: "it MAY decide not to add a "received" parameter": of use to nobody, and perhaps that of an
        # HTTP proxy, which is no business of the phone.
        return request
    # RFC 3581 4: "it MUST set the value of this parameter to the source port of the request", also if somebody has
    # filled it in before; and then "received" is there even if it equals the sent-by host.
    if via.rport is not None:
        stamped = stamped.with_param("rport", str(source.remote.port)).with_param("received", host)
    elif as_numeric(via.host) != host or via.received is not None:
        stamped = stamped.with_param("received", host)
    return request if stamped is via else request.with_top_via(stamped)
