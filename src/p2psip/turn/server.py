"""A TURN server (RFC 8656), which knows no sockets.

Theory of operation. A client asks on a flow for an allocation: a UDP port of ours, from which what it sends goes to
peers, and at which what permitted peers send is passed on to it. Who it is says its credential (stun/credentials.py);
until that is clear an answer is no longer than the request, but for a small surplus of all strangers together. Ports
are opened by the driver, as answers to questions; their numbers are chosen here, at random. To whom we relay: peers.py.

There are no reservations of ports (EVEN-PORT with its R bit, RESERVATION-TOKEN): who asks for one hears 508, as section
7.2 has it for a server that cannot. DONT-FRAGMENT is an attribute that is not understood.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from p2psip.base.address import Address, unmapped
from p2psip.base.effects import Asks, Effect
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.stun.attributes import (
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    ICMP,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    UNKNOWN_ATTRIBUTES,
    XOR_PEER_ADDRESS,
    Family,
    Icmp,
    StunErrorCode,
)
from p2psip.stun.binding import UNKNOWN_NAMED_MAX, answer_binding
from p2psip.stun.credentials import Attributes, StunAdmitted, StunGate, StunRefused
from p2psip.stun.framing import CHANNELS, ChannelData, StunFraming, is_channel_data
from p2psip.stun.integrity import signed
from p2psip.stun.message import BINDING, AttributeType, MessageClass, NotStun, StunMessage, decode
from p2psip.turn.allocations import Allocation
from p2psip.turn.bandwidth import Bucket
from p2psip.turn.limits import CLIENT_SILENT_S, MESSAGE_BYTES_MAX, OPENING_S, TurnLimits, lifetime_s
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA_METHOD, REFRESH, SEND
from p2psip.turn.opening import Opening, Rejected, success, wish_of
from p2psip.turn.peers import Scope, scope_of
from p2psip.turn.values import CloseRelay, CloseStream, Flow, OpenRelay, RelaySettings, Transmit, TurnRelay

_KNOWN: Final = frozenset(AttributeType) - {
    AttributeType.DONT_FRAGMENT,
    AttributeType.CHANGE_REQUEST,
    AttributeType.PADDING,
    AttributeType.RESPONSE_PORT,
}
_ICMP_KINDS: Final = {Family.IPV4: (3, 11), Family.IPV6: (1, 2, 3)}
"""11.5."""


class TurnService:
    """A relay, for users of whom `gate` knows who they are."""

    def __init__(
        self, settings: RelaySettings, limits: TurnLimits, gate: StunGate, rng: random.Random, now: float
    ) -> None:
        """`rng` is one that nobody outside can guess: from it are ports."""
        self._settings = settings
        self._limits = limits
        self._gate = gate
        self._rng = rng
        self._by_flow: dict[Flow, Allocation] = {}
        self._by_relayed: dict[Address, Allocation] = {}
        self._opening: dict[Flow, Opening] = {}
        self._asks: Asks[Opening] = Asks(limits.allocations)
        self._timers: Timers[tuple[Flow, Family]] = Timers()
        self._framings: dict[Flow, StunFraming] = {}
        self._all_bytes = Bucket(limits.bytes_per_s, now)
        self._user_bytes: dict[str, Bucket] = {}
        self._surplus = Bucket(limits.surplus_bytes_per_s, now)
        self._effects: list[Effect] = []

    # What an operator wants to know

    def __len__(self) -> int:
        """How many allocations there are."""
        return len(self._by_flow)

    def lends_to(self, flow: Flow) -> bool:
        """True if there is an allocation on a flow."""
        return flow in self._by_flow

    # From the driver

    def handle_data(self, flow: Flow, data: bytes, now: float) -> None:
        """Bytes of a client: a datagram, or what came on a stream. What is not for us is dropped."""
        if flow.remote in self._by_relayed:
            # An allocation from an allocation would let datagrams go round.
            return
        if not flow.is_stream:
            self._handle_message(flow, data, now)
            return
        framing = self._framings.get(flow)
        if framing is None:
            if len(self._framings) >= self._limits.streams:
                self._effects.append(CloseStream(flow, "too many streams of clients"))
                return
            framing = self._framings[flow] = StunFraming(MESSAGE_BYTES_MAX)
        try:
            for message in framing.feed(data):
                self._handle_message(flow, message, now)
        except NotStun as error:
            self._effects.append(CloseStream(flow, str(error)))
            self.handle_flow_down(flow)

    def handle_flow_down(self, flow: Flow) -> None:
        """A stream has ended, and with it the allocation that was on it."""
        self._framings.pop(flow, None)
        if (opening := self._opening.pop(flow, None)) is not None:
            self._abandon(opening)
        if (allocation := self._by_flow.get(flow)) is not None:
            for family in list(allocation.relayed):
                self._drop(allocation, family)

    def close(self) -> None:
        """Relay no more: nobody has anything here."""
        for opening in self._opening.values():
            self._abandon(opening)
        self._opening = {}
        for allocation in list(self._by_flow.values()):
            for family in list(allocation.relayed):
                self._drop(allocation, family)

    def handle_relayed(self, relayed: Address, peer: Address, data: bytes, now: float) -> None:
        """A datagram of a peer has come to a relayed address (11.3)."""
        allocation = self._by_relayed.get(relayed)
        peer = Address(unmapped(peer.host), peer.port)
        # 9: "If no match is found, relaying is not permitted and the server silently discards the UDP datagram."
        if allocation is None or not allocation.permits(peer.host, now) or not self._may_spend(allocation, data, now):
            return
        # 12.5: "The server [...] MUST use the ChannelData message if a channel has been bound to the peer."
        if (channel := allocation.channel_of(peer, now)) is not None:
            message = ChannelData.encode(channel, data, is_stream=allocation.flow.is_stream)
            self._effects.append(Transmit(allocation.flow, message))
        else:
            self._indicate(allocation, peer, DATA.of(data))

    def handle_icmp(self, relayed: Address, peer: Address, icmp: Icmp, now: float) -> None:
        """A datagram that went from a relayed address to a peer did not arrive (11.5)."""
        allocation = self._by_relayed.get(relayed)
        if allocation is None or not allocation.permits(peer.host, now):
            return
        if icmp.kind in _ICMP_KINDS[Family.of(peer.host)]:
            self._indicate(allocation, peer, ICMP.of(icmp))

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """Whether a port is open."""
        if (opening := self._asks.answered(token)) is not None:
            self._opened(opening, answer is True, now)

    def handle_timeout(self, now: float) -> None:
        """Allocations whose time is over; ports that do not open."""
        for flow, family in self._timers.pop_due(now):
            self._drop(self._by_flow[flow], family)
        for opening in self._asks.expired(now):
            self._opened(opening, False, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._asks.next_deadline()))

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Messages

    def _handle_message(self, flow: Flow, data: bytes, now: float) -> None:
        try:
            if is_channel_data(data):
                self._handle_channel_data(flow, *ChannelData.decode(data), now)
                return
            message = decode(data, MESSAGE_BYTES_MAX)
            if (message.message_class, message.method) == (MessageClass.INDICATION, SEND):
                self._handle_send(flow, message, now)
        except NotStun:
            return
        if message.message_class is not MessageClass.REQUEST:
            return
        if message.method == BINDING:
            if (answer := answer_binding(data, flow.remote)) is not None:
                self._tell_stranger(flow, answer, len(data), now)
        elif message.method in _HANDLERS:
            self._handle_request(flow, message, data, now)

    def _handle_request(self, flow: Flow, request: StunMessage, data: bytes, now: float) -> None:
        try:
            who = self._gate.judge(request, data, flow.remote, now)
        except NotStun:
            who = StunRefused(400, (ERROR_CODE.of(StunErrorCode(400)),))
        if isinstance(who, StunRefused):
            refusal = StunMessage(MessageClass.ERROR, request.method, request.transaction, who.attributes)
            self._tell_stranger(flow, refusal.encode(), len(data), now)
            return
        try:
            # RFC 8489 6.3: "Once the authentication checks are done", what is unknown.
            if unknown := request.unknown(_KNOWN):
                raise Rejected(420, "Unknown Attribute", UNKNOWN_ATTRIBUTES.of(unknown[:UNKNOWN_NAMED_MAX]))
            attributes = _HANDLERS[request.method](self, flow, request, who, now)
        except NotStun as error:
            self._answer(flow, request, who, MessageClass.ERROR, (ERROR_CODE.of(StunErrorCode(400, str(error)[:100])),))
        except Rejected as error:
            self._answer(flow, request, who, MessageClass.ERROR, error.attributes)
        else:
            if attributes is not None:
                self._answer(flow, request, who, MessageClass.SUCCESS, attributes)

    def _answer(
        self, flow: Flow, request: StunMessage, who: StunAdmitted, message_class: MessageClass, attributes: Attributes
    ) -> None:
        answer = StunMessage(message_class, request.method, request.transaction, attributes, request.has_fingerprint)
        self._effects.append(Transmit(flow, signed(answer, who.key, who.integrity).encode()))

    def _tell_stranger(self, flow: Flow, answer: bytes, asked_bytes: int, now: float) -> None:
        """Over datagrams anybody can ask in another's name: of what is longer than its question there is little."""
        if flow.is_stream or len(answer) <= asked_bytes or self._surplus.take(len(answer) - asked_bytes, now):
            self._effects.append(Transmit(flow, answer))

    # Allocations

    def _allocate(self, flow: Flow, request: StunMessage, who: StunAdmitted, now: float) -> Attributes | None:
        """7.2; None while ports are being opened."""
        if (allocation := self._by_flow.get(flow)) is not None:
            if (allocation.transaction, allocation.owner) == (request.transaction, who.owner):
                return success(allocation, now)
            raise Rejected(437, "Allocation Mismatch")
        if (before := self._opening.get(flow)) is not None:
            if before.request.transaction == request.transaction:
                return None
            raise Rejected(437, "Allocation Mismatch")
        if scope_of(unmapped(flow.remote.host)) is Scope.NONE:
            # 21.4: "a TURN server MUST NOT accept Teredo or 6to4 addresses in these requests."
            raise Rejected(403, "Forbidden")
        wish = wish_of(request, self._settings.relays, self._limits.lifetime_max_s)
        if self._held().count(who.owner) >= self._limits.allocations_per_user:
            self._drop_idle(who.owner, now)
        held = self._held()
        if held.count(who.owner) >= self._limits.allocations_per_user:
            raise Rejected(486, "Allocation Quota Reached")
        if len(held) >= self._limits.allocations or self._asks.is_full:
            raise Rejected(508, "Insufficient Capacity")
        opening = self._opening[flow] = Opening(flow, request, who, wish)
        self._open_next(opening, now)
        return None

    def _held(self) -> list[str]:
        """Whose what is lent or being opened is."""
        return [*(each.owner for each in self._by_flow.values()), *(each.who.owner for each in self._opening.values())]

    def _drop_idle(self, owner: str, now: float) -> None:
        """Of what a user has, what lies idle longest, as its address has changed since."""
        idle = [a for a in self._by_flow.values() if a.owner == owner and now >= a.heard_at + CLIENT_SILENT_S]
        if idle:
            oldest = min(idle, key=lambda each: each.heard_at)
            for family in list(oldest.relayed):
                self._drop(oldest, family)

    def _open_next(self, opening: Opening, now: float) -> None:
        relayed = opening.next_port(self._rng, self._by_relayed)
        self._effects.append(self._asks.ask(OpenRelay(relayed), opening, now + OPENING_S))

    def _opened(self, opening: Opening, is_open: bool, now: float) -> None:
        if self._opening.get(opening.flow) is not opening:
            # The client has gone meanwhile.
            if is_open:
                self._effects.append(CloseRelay(opening.asked))
            return
        opening.answered(is_open)
        if opening.wants_more:
            self._open_next(opening, now)
            return
        del self._opening[opening.flow]
        if not opening.relayed:
            code = (ERROR_CODE.of(StunErrorCode(508, "Insufficient Capacity")),)
            self._answer(opening.flow, opening.request, opening.who, MessageClass.ERROR, code)
            return
        allocation = opening.allocation(now)
        self._by_flow[opening.flow] = allocation
        for family, relayed in allocation.relayed.items():
            self._by_relayed[relayed] = allocation
            self._timers.set((opening.flow, family), allocation.until[family], "allocation over")
        self._user_bytes.setdefault(allocation.owner, Bucket(self._limits.bytes_per_s_per_user, now))
        self._answer(opening.flow, opening.request, opening.who, MessageClass.SUCCESS, success(allocation, now))

    def _abandon(self, opening: Opening) -> None:
        for relayed in opening.relayed.values():
            self._effects.append(CloseRelay(relayed))

    def _drop(self, allocation: Allocation, family: Family) -> None:
        relayed = allocation.drop(family)
        self._timers.cancel((allocation.flow, family))
        del self._by_relayed[relayed]
        self._effects.append(CloseRelay(relayed))
        if not allocation.relayed:
            del self._by_flow[allocation.flow]
            if all(each.owner != allocation.owner for each in self._by_flow.values()):
                del self._user_bytes[allocation.owner]

    def _refresh(self, flow: Flow, request: StunMessage, who: StunAdmitted, now: float) -> Attributes:
        """8.2."""
        allocation = self._allocation(flow, who, now)
        wanted = REQUESTED_ADDRESS_FAMILY.first(request)
        families = list(allocation.relayed) if wanted is None else [Family(wanted)]
        if any(family not in allocation.relayed for family in families):
            raise Rejected(443, "Peer Address Family Mismatch")
        wanted_s = LIFETIME.first(request)
        if wanted_s == 0:
            for family in families:
                self._drop(allocation, family)
            return (LIFETIME.of(0),)
        granted_s = lifetime_s(wanted_s, self._limits.lifetime_max_s)
        for family in families:
            allocation.until[family] = now + granted_s
            self._timers.set((flow, family), now + granted_s, "allocation over")
        return (LIFETIME.of(granted_s),)

    def _allocation(self, flow: Flow, who: StunAdmitted, now: float) -> Allocation:
        allocation = self._by_flow.get(flow)
        if allocation is None:
            # 5: "MUST either be rejected with a 437 Allocation Mismatch error (if it is a request)".
            raise Rejected(437, "Allocation Mismatch")
        if allocation.owner != who.owner:
            # 5: "does not use the same username as used to create the allocation, then the request MUST be rejected
            # with a 441 (Wrong Credentials) error". A member's user names follow one another; the member stays.
            raise Rejected(441, "Wrong Credentials")
        allocation.heard_at = now
        return allocation

    # Peers

    def _create_permission(self, flow: Flow, request: StunMessage, who: StunAdmitted, now: float) -> Attributes:
        """10.2."""
        allocation = self._allocation(flow, who, now)
        peers = XOR_PEER_ADDRESS.every(request)
        if not peers:
            raise Rejected(400, "Bad Request")
        for peer in peers:
            self._check_peer(allocation, peer)
        if not allocation.permit({peer.host for peer in peers}, self._limits.permissions, now):
            raise Rejected(508, "Insufficient Capacity")
        return ()

    def _channel_bind(self, flow: Flow, request: StunMessage, who: StunAdmitted, now: float) -> Attributes:
        """12.2."""
        allocation = self._allocation(flow, who, now)
        number, peer = CHANNEL_NUMBER.first(request), XOR_PEER_ADDRESS.first(request)
        if number is None or number not in CHANNELS or peer is None:
            raise Rejected(400, "Bad Request")
        # "The channel number is not currently bound to a different transport address [...]; The transport address is
        # not currently bound to a different channel number."
        bound_to, bound_by = allocation.peer_of(number, now), allocation.channel_of(peer, now)
        if bound_to not in (None, peer) or bound_by not in (None, number):
            raise Rejected(400, "Bad Request")
        self._check_peer(allocation, peer)
        if not self._may_reach(allocation, peer):
            raise Rejected(403, "Forbidden")
        if not allocation.has_room_for_channel(number, self._limits.channels, now) or not allocation.permit(
            {peer.host}, self._limits.permissions, now
        ):
            raise Rejected(508, "Insufficient Capacity")
        allocation.bind(number, peer, now)
        return ()

    def _check_peer(self, allocation: Allocation, peer: Address) -> None:
        if Family.of(peer.host) not in allocation.relayed:
            raise Rejected(443, "Peer Address Family Mismatch")
        if not self._may_permit(allocation, peer.host):
            raise Rejected(403, "Forbidden")

    def _may_permit(self, allocation: Allocation, host: str) -> bool:
        """Whether a client may have anything to do with a host."""
        scope = scope_of(host)
        if scope is Scope.NONE:
            return False
        if scope is Scope.GLOBAL or (host in self._settings.own_hosts and scope is not Scope.LOOPBACK):
            return True
        if scope_of(unmapped(allocation.flow.remote.host)) is not scope:
            return False
        return any(unmapped(flow.remote.host) == host for flow in self._by_flow)

    def _may_reach(self, allocation: Allocation, peer: Address) -> bool:
        """Whether a datagram may go there: on this machine to other clients of the relay, and to what is open."""
        if peer.port == 0 or not self._may_permit(allocation, peer.host):
            return False
        is_ours = peer in self._settings.listening or (
            peer.host in self._settings.own_hosts and scope_of(peer.host) is not Scope.LOOPBACK
        )
        return peer in self._by_relayed or peer in self._settings.open_to_clients or not is_ours

    # Data

    def _handle_send(self, flow: Flow, indication: StunMessage, now: float) -> None:
        """11.2. Raises NotStun."""
        allocation = self._by_flow.get(flow)
        peer, data = XOR_PEER_ADDRESS.first(indication), DATA.first(indication)
        if allocation is not None and peer is not None and data is not None and not indication.unknown(_KNOWN):
            self._relay(allocation, peer, data, now)

    def _handle_channel_data(self, flow: Flow, number: int, data: bytes, now: float) -> None:
        """12.6."""
        allocation = self._by_flow.get(flow)
        peer = None if allocation is None else allocation.peer_of(number, now)
        if allocation is not None and peer is not None:
            self._relay(allocation, peer, data, now)

    def _relay(self, allocation: Allocation, peer: Address, data: bytes, now: float) -> None:
        relayed = allocation.relayed.get(Family.of(peer.host))
        if relayed is None or not allocation.permits(peer.host, now) or not self._may_reach(allocation, peer):
            return
        allocation.heard_at = now
        if self._may_spend(allocation, data, now):
            self._effects.append(TurnRelay(relayed, peer, data))

    def _may_spend(self, allocation: Allocation, data: bytes, now: float) -> bool:
        """5: the server "should discard application data traffic that exceeds the bandwidth quota"."""
        return self._user_bytes[allocation.owner].take(len(data), now) and self._all_bytes.take(len(data), now)

    def _indicate(self, allocation: Allocation, peer: Address, what: tuple[int, bytes]) -> None:
        transaction = self._rng.randbytes(12)
        attributes = XOR_PEER_ADDRESS.of(peer, transaction), what
        message = StunMessage(MessageClass.INDICATION, DATA_METHOD, transaction, attributes)
        self._effects.append(Transmit(allocation.flow, message.encode()))


_HANDLERS: Final[dict[int, Callable[[TurnService, Flow, StunMessage, StunAdmitted, float], Attributes | None]]] = {
    ALLOCATE: TurnService._allocate,
    REFRESH: TurnService._refresh,
    CREATE_PERMISSION: TurnService._create_permission,
    CHANNEL_BIND: TurnService._channel_bind,
}
