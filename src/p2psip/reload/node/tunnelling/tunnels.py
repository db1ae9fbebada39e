"""The tunnels of one node (docs/decisions/tunnel.md): opened, used and closed by private messages.

    OPEN    (number, application, responder, share)   ->   share, hash over all that was said
    RECORD  (number, sequence, sealed)                ->   nothing: it has come
    CLOSE   (number, reason)                          ->   nothing

Theory of operation. Both messages of an opening are signed, as all are, and end to end; so the shares are whose they
say, and nobody on the way has the keys. Who opens sends a record with nothing in it at once; only then the other end
lets its application use the tunnel: an opening that somebody has recorded and repeats comes to nothing. Records are
answered, so a tunnel whose other end is gone is over within `RECORD_TRANSMISSIONS` times three seconds. Whatever a node
sends that does not fit ends the tunnel.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from p2psip.base.address import Address
from p2psip.base.errors import RemoteProtocolError, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.attach import SIP_APPLICATIONS
from p2psip.reload.node.effects import AppLinkDown, AppLinkUp
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.limits import (
    TUNNEL_IDLE_S,
    TUNNEL_RECORD_BYTES,
    TUNNEL_UNCONFIRMED_S,
    TUNNELS_MAX,
    TUNNELS_PER_NODE_MAX,
)
from p2psip.reload.node.tunnelling.tunnel import Tunnel, TunnelName
from p2psip.reload.node.tunnelling.tunnel_commands import (
    FIRST_TUNNEL,
    CloseTunnel,
    OpenTunnel,
    TunnelCommand,
    TunnelFailed,
    TunnelledRecord,
    WriteTunnel,
)
from p2psip.reload.security.key_agreement import BadRecord, KeyExchange, KeyShare
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import TRANSMISSIONS_MAX, OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.extensions.tunnel_messages import (
    TUNNEL,
    TunnelAcceptance,
    TunnelClosing,
    TunnelMessage,
    TunnelOpening,
    TunnelRecord,
    TunnelStep,
)
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage, NotFound, RequestTimeout

PURPOSE = b"p2psip tunnel 1"
RECORD_TRANSMISSIONS = 2
"""What goes through a tunnel may be lost, and whoever sent it sends it again; this is to know that nobody is there."""

REASON_MAX = 255
RECORD_BYTES_MIN = 128


@dataclass(frozen=True, slots=True)
class TunnelContext:
    """A request of a tunnel of ours."""

    name: TunnelName
    step: TunnelStep


@dataclass(frozen=True, slots=True)
class _Opening:
    """One that we have asked for."""

    node: NodeId
    application: int
    share: KeyShare


class Tunnels:
    """Opens, carries, closes. `served` are the Application-IDs that others may ask for."""

    def __init__(self, exchange: Exchange, served: set[int], rng: random.Random) -> None:
        self._exchange, self._served, self._rng = exchange, served, rng
        self._openings: dict[TunnelName, _Opening] = {}
        self._tunnels: dict[TunnelName, Tunnel] = {}
        self._links: dict[int, Tunnel] = {}
        self._numbers = iter(range(FIRST_TUNNEL, 1 << 63, 2))
        self._timers: Timers[TunnelName] = Timers(exchange.queue)

    def __len__(self) -> int:
        return len(self._openings) + len(self._tunnels)

    # The layer above

    def command(self, command: TunnelCommand, now: float) -> None:
        """What the layer above wants done."""
        match command:
            case OpenTunnel(route, node, application):
                self._open(route, node, application, now)
            case WriteTunnel(link, data):
                if (tunnel := self._links.get(link)) is not None:
                    self._write(tunnel, data, now)
            case CloseTunnel(link, reason):
                if (tunnel := self._links.get(link)) is not None:
                    self._forget(tunnel)
                    self._tell_closed(tunnel, reason, now)

    def _open(self, route: Sequence[Entry], node: NodeId, application: int, now: float) -> None:
        if any(opening.node == node for opening in self._openings.values()):
            return
        why_not = self._why_not()
        if why_not is None and len(self) >= TUNNELS_MAX:
            why_not = "there are too many tunnels"
        if why_not is not None:
            self._failed(node, RequestFailed(f"no tunnel to {node.short}: {why_not}"))
            return
        name = TunnelName(self._rng.getrandbits(64), self._exchange.identity.node_id)
        share = KeyShare(self._rng)
        message = TunnelMessage(TunnelStep.OPEN, name.number, TunnelOpening(application, node, share.public))
        if self._send(route, message, name, now):
            self._openings[name] = _Opening(node, application, share)
        else:
            self._failed(node, RequestFailed(f"no tunnel to {node.short}: too many requests under way"))

    def _why_not(self) -> str | None:
        return None if self._exchange.configuration.sip_tunnel else "the configuration of this overlay permits none"

    # Requests of others

    def handle_request(self, request: Received, body: bytes, now: float) -> None:
        """A private message of the name "tunnel". Raises a Rejection."""
        if (why_not := self._why_not()) is not None:
            raise Forbidden(why_not)
        if request.node != self._exchange.identity.node_id:
            raise NotFound("tunnels lead to nodes, not to lines")
        try:
            message = TunnelMessage.decode(body, node_id_length=len(request.node))
        except DecodeError as error:
            raise InvalidMessage(str(error)) from None
        answer = b""
        match message.data:
            case TunnelOpening() as opening:
                answer = self._accept(request, message.tunnel, opening, now).encode()
            case TunnelRecord() as record:
                self._receive(self._named(message, request), record, now)
            case TunnelClosing(reason):
                tunnel = self._named(message, request)
                self._down(tunnel, f"closed by the other end: {reason.decode(errors='replace')}")
            case _:
                raise InvalidMessage("unknown step of a tunnel")
        self._exchange.answer(request, PrivateAns(answer))

    def _accept(self, request: Received, number: int, opening: TunnelOpening, now: float) -> TunnelAcceptance:
        node, own = request.signer.node_id, self._exchange.identity.node_id
        name = TunnelName(number, node)
        if opening.responder != own or name in self._tunnels:
            raise InvalidMessage("this opening is for another node, or has come before")
        if opening.application not in self._served & SIP_APPLICATIONS:
            # Others expect a connection of their own, and may want to send more than peers between should carry.
            raise NotFound(f"application {opening.application} does not run here")
        theirs = [tunnel.name.opener for tunnel in self._tunnels.values() if tunnel.name.opener != own]
        if len(theirs) >= TUNNELS_MAX // 2 or theirs.count(node) >= TUNNELS_PER_NODE_MAX:
            raise RequestTimeout("there are too many tunnels")
        share = KeyShare(self._rng)
        exchanged = self._exchanged(name, own, opening.share, share.public)
        try:
            records = share.agree(exchanged, is_initiator=False)
        except BadRecord as error:
            raise InvalidMessage(str(error)) from None
        self._keep(Tunnel(next(self._numbers), name, node, opening.application, records, now))
        return TunnelAcceptance(share.public, exchanged.transcript)

    def _receive(self, tunnel: Tunnel, record: TunnelRecord, now: float) -> None:
        was_confirmed = tunnel.is_confirmed
        try:
            data = tunnel.receive(record, now)
        except BadRecord as error:
            self._down(tunnel, str(error))
            raise InvalidMessage(str(error)) from None
        if tunnel.is_confirmed and not was_confirmed:
            self._up(tunnel)
        if data:
            self._exchange.emit(TunnelledRecord(tunnel.link, data))

    def _named(self, message: TunnelMessage, request: Received) -> Tunnel:
        """The tunnel that a message of `request`'s signer is of."""
        node, own = request.signer.node_id, self._exchange.identity.node_id
        for opener in (node, own):
            tunnel = self._tunnels.get(TunnelName(message.tunnel, opener))
            if tunnel is not None and tunnel.node == node:
                return tunnel
        raise NotFound("there is no such tunnel here")

    # Outcomes and time

    def handle_outcome(self, context: TunnelContext, outcome: Outcome, now: float) -> None:
        """A request of a tunnel of ours is over."""
        opening = self._openings.pop(context.name, None)
        if opening is not None:
            self._opened(context.name, opening, outcome, now)
            return
        tunnel = self._tunnels.get(context.name)
        if tunnel is None or context.step is not TunnelStep.RECORD:
            return
        if isinstance(outcome, Answer):
            tunnel.acknowledged()
        else:
            self._down(tunnel, str(failure_of(outcome)))

    def _opened(self, name: TunnelName, opening: _Opening, outcome: Outcome, now: float) -> None:
        node = opening.node
        if not isinstance(outcome, Answer):
            # Who does not know private messages, or none of tunnels, says so with an error: so the cause has it.
            failure = failure_of(outcome)
            self._failed(node, RequestFailed(f"no tunnel to {node.short}: {failure.what}", failure.causes))
            return
        try:
            acceptance = TunnelAcceptance.decode(outcome.body.body if isinstance(outcome.body, PrivateAns) else b"")
            exchanged = self._exchanged(name, node, opening.share.public, acceptance.share)
            if acceptance.transcript != exchanged.transcript:
                raise BadRecord("the two ends have not heard the same")
            records = opening.share.agree(exchanged, is_initiator=True)
        except RemoteProtocolError as error:
            self._failed(node, RequestFailed(f"no tunnel to {node.short}: {error}"))
            return
        tunnel = Tunnel(next(self._numbers), name, node, opening.application, records, now)
        tunnel.is_confirmed = True
        self._keep(tunnel)
        self._write(tunnel, b"", now)
        self._up(tunnel)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Forget what is not used."""
        for name in self._timers.pop_due(now):
            tunnel = self._tunnels[name]
            if not tunnel.is_confirmed:
                self._forget(tunnel)
            elif tunnel.used_at + TUNNEL_IDLE_S > now:
                self._timers.set(name, tunnel.used_at + TUNNEL_IDLE_S, "an idle tunnel")
            else:
                self._down(tunnel, "nobody has used it for a while")

    # Inside

    def _exchanged(
        self, name: TunnelName, responder: NodeId, opener_share: bytes, responder_share: bytes
    ) -> KeyExchange:
        overlay = self._exchange.configuration.overlay_hash
        return KeyExchange(PURPOSE, overlay, name.number, name.opener, responder, opener_share, responder_share)

    @property
    def _record_bytes(self) -> int:
        return max(RECORD_BYTES_MIN, min(TUNNEL_RECORD_BYTES, self._exchange.values_size_max))

    def _write(self, tunnel: Tunnel, data: bytes, now: float) -> None:
        if (why_not := self._why_not()) is not None:
            self._down(tunnel, why_not)
            return
        record = tunnel.seal(data, now) if len(data) <= self._record_bytes else None
        if record is None:
            self._exchange.note("record of a tunnel lost", node=tunnel.node, bytes=len(data))
            return
        message = TunnelMessage(TunnelStep.RECORD, tunnel.name.number, record)
        if not self._send([Destination.node(tunnel.node)], message, tunnel.name, now):
            self._down(tunnel, "too many requests under way")

    def _tell_closed(self, tunnel: Tunnel, reason: str, now: float) -> None:
        message = TunnelMessage(TunnelStep.CLOSE, tunnel.name.number, TunnelClosing(reason.encode()[:REASON_MAX]))
        self._send([Destination.node(tunnel.node)], message, tunnel.name, now)

    def _send(self, route: Sequence[Entry], message: TunnelMessage, name: TunnelName, now: float) -> bool:
        most = TRANSMISSIONS_MAX if message.step is TunnelStep.OPEN else RECORD_TRANSMISSIONS
        body = PrivateReq(TUNNEL, message.encode())
        asked = OverlayRequest(route, MessageCode.PRIVATE_REQ, body, transmissions_max=most)
        return self._exchange.request(asked, TunnelContext(name, message.step), now) is not None

    def _keep(self, tunnel: Tunnel) -> None:
        self._tunnels[tunnel.name] = self._links[tunnel.link] = tunnel
        wait_s = TUNNEL_IDLE_S if tunnel.is_confirmed else TUNNEL_UNCONFIRMED_S
        self._timers.set(tunnel.name, tunnel.used_at + wait_s, "an idle tunnel, or one without a first record")

    def _up(self, tunnel: Tunnel) -> None:
        own, other = identifier_address(self._exchange.identity.node_id), identifier_address(tunnel.node)
        self._exchange.emit(AppLinkUp(tunnel.link, tunnel.node, other, own, tunnel.application, self._record_bytes))

    def _down(self, tunnel: Tunnel, reason: str) -> None:
        self._forget(tunnel)
        if tunnel.is_confirmed:
            self._exchange.emit(AppLinkDown(tunnel.link, reason))

    def _forget(self, tunnel: Tunnel) -> None:
        if self._tunnels.pop(tunnel.name, None) is not None:
            del self._links[tunnel.link]
            self._timers.cancel(tunnel.name)

    def _failed(self, node: NodeId, error: RequestFailed) -> None:
        self._exchange.emit(TunnelFailed(node, error))


def identifier_address(node: NodeId) -> Address:
    """What stands for a node where an IP address is wanted and there is none: 2001:20::/28, which is for identifiers
    and is not routed (RFC 7343), with the first 100 bits of its Node-ID behind.
    """
    bits = 0x2001002 << 100 | int.from_bytes(node, "big") >> 8 * len(node) - 100
    return Address(str(IPv6Address(bits)), 0)
