"""Diagnostics (RFC 7851): what this peer tells of itself and to whom, and what it looks for in passing requests.

What only the machine knows (load, uptime, memory) the driver supplies as `MachineFigures`; a figure that it does not
know is not told.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.keeping.traffic import Traffic
from p2psip.reload.node.upkeep import Upkeep
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import ErrorCode, MessageCode, MessageContents, MessageExtension, MessageExtensionType
from p2psip.reload.wire.diagnostics import (
    ALL_FLAGS,
    EXTENDED_KINDS_FROM,
    KINDS_BY_FLAG,
    RESERVED_FLAGS,
    DiagnosticInfo,
    DiagnosticKind,
    DiagnosticsRequest,
    DiagnosticsResponse,
    InstancesStored,
    PathTrackAns,
    PathTrackReq,
    Value,
)
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage, MessageExpired

EXPIRES_S = 60
"""How long our requests and answers are good; 5.1: "between 1 and 600 seconds in the future"."""

EXPIRES_MAX_S = 600


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """What the driver knows of the machine and the program; None for what cannot be known there."""

    software: str | None = None
    load: int | None = None
    """STATUS_INFO: 0 (none) to 15 (congested)."""
    process_power_mips: int | None = None
    upstream_kbps: int | None = None
    downstream_kbps: int | None = None
    uptime_s: int | None = None
    memory_kb: int | None = None
    battery: int | None = None
    """BATTERY_STATUS: the leftmost bit is clear on battery."""


class Diagnostics:
    """Answers diagnostics requests, and objects to those that ought not to pass."""

    def __init__(
        self,
        exchange: Exchange,
        topology: Topology,
        upkeep: Upkeep,
        data: Data,
        traffic: Traffic,
    ) -> None:
        self.machine = MachineFigures()
        self._exchange = exchange
        self._topology = topology
        self._upkeep = upkeep
        self._data = data
        self._traffic = traffic

    # Requests for us

    def handle_path_track(self, request: Received, body: PathTrackReq, now: float) -> None:
        """6.3, 4.3.1.2: the next hop to the destination, ourselves if we are responsible. Raises a Rejection."""
        target = body.destination.node_id or body.destination.resource_id
        if target is None:
            raise Forbidden("an opaque destination cannot be asked for")
        response = self._response(request, body.request, now)
        next_hop = Destination.node(self._topology.next_peer(target))
        self._exchange.answer(request, PathTrackAns(next_hop, response))

    def ping_extensions(self, request: Received, now: float) -> tuple[MessageExtension, ...]:
        """4.2.1: the answer to the extension of a Ping; none, if it has none. Raises a Rejection."""
        contents = _extension(request.contents)
        if contents is None:
            return ()
        try:
            asked = DiagnosticsRequest.decode(contents)
        except DecodeError as error:
            raise InvalidMessage(str(error)) from None
        response = self._response(request, asked, now).encode()
        return (MessageExtension(MessageExtensionType.DIAGNOSTIC_PING, False, response),)

    def _response(self, request: Received, asked: DiagnosticsRequest, now: float) -> DiagnosticsResponse:
        if self._is_expired(asked.expiration, now):
            # 6.3: "If the message is expired, the peer MUST generate a response with the error code 0x17".
            raise MessageExpired("by our date the request has expired")
        wall = self._exchange.transport.wall
        date_ms = max(0, wall.date_ms(now))
        if wall.is_trusted and asked.expiration > date_ms + EXPIRES_MAX_S * 1000:
            # 5.1: "This value MUST have a value between 1 and 600 seconds in the future."
            raise InvalidMessage("the request does not expire within 600 seconds")
        wanted = self._wanted(asked)
        permits = self._exchange.configuration.permits_diagnostics
        refused = [kind for kind in wanted if not permits(request.signer.node_id, kind)]
        if refused:
            # 6.3: "If the initiator node asks for diagnostic information that they are not authorized to query, the
            # receiving peer MUST return an error response with the error code 2 "Error_Forbidden"."
            raise Forbidden("the configuration does not let you ask for " + ", ".join(k.rfc_name for k in refused))
        infos = tuple(
            DiagnosticInfo.of(kind, value) for kind in wanted if (value := self._figure(kind, now)) is not None
        )
        header = request.message.header
        # 5.2: hop_counter "MUST be exactly copied from the TTL field of the forwarding header in the received request."
        return DiagnosticsResponse(date_ms + EXPIRES_S * 1000, asked.timestamp_initiated, date_ms, header.ttl, infos)

    def _wanted(self, asked: DiagnosticsRequest) -> list[DiagnosticKind]:
        extended = [extension.kind for extension in asked.diagnostic_extensions_list]
        if any(kind < EXTENDED_KINDS_FROM for kind in extended):
            # 5.1: "Kinds from 0x0000 to 0x003f MUST NOT be indicated in the diagnostic_extensions_list".
            raise InvalidMessage("a Kind that has a flag is asked for in the extensions")
        if asked.dm_flags == ALL_FLAGS:
            return [*DiagnosticKind, *extended]
        if asked.dm_flags & RESERVED_FLAGS:
            # 5.3: "the first and last bits [...] MUST be set to 0 when other particular diagnostic Kind IDs are
            # requested".
            raise InvalidMessage("a reserved flag is set")
        return [*(DiagnosticKind(bit) for bit in KINDS_BY_FLAG if asked.dm_flags >> bit & 1), *extended]

    def _figure(self, kind: DiagnosticKind, now: float) -> Value | None:
        """The value of a Kind; None where it is not known here, UNDERLAY_HOP for one: TCP does not tell a TTL."""
        machine = self.machine
        match kind:
            case DiagnosticKind.STATUS_INFO:
                return None if machine.load is None else machine.load & 0x0F
            case DiagnosticKind.ROUTING_TABLE_SIZE:
                return len(self._topology.routes)
            case DiagnosticKind.PROCESS_POWER:
                return machine.process_power_mips
            case DiagnosticKind.UPSTREAM_BANDWIDTH:
                return machine.upstream_kbps
            case DiagnosticKind.DOWNSTREAM_BANDWIDTH:
                return machine.downstream_kbps
            case DiagnosticKind.SOFTWARE_VERSION:
                return machine.software
            case DiagnosticKind.MACHINE_UPTIME:
                return machine.uptime_s
            case DiagnosticKind.APP_UPTIME:
                return self._upkeep.uptime_s(now)
            case DiagnosticKind.MEMORY_FOOTPRINT:
                return machine.memory_kb
            case DiagnosticKind.BATTERY_STATUS:
                return machine.battery
        return self._counted(kind, now)

    def _counted(self, kind: DiagnosticKind, now: float) -> Value | None:
        match kind:
            case DiagnosticKind.DATASIZE_STORED:
                return self._data.storage.size
            case DiagnosticKind.INSTANCES_STORED:
                return tuple(InstancesStored(*counted) for counted in self._data.storage.census.kinds)
            case DiagnosticKind.MESSAGES_SENT_RCVD:
                return self._traffic.messages()
            case DiagnosticKind.EWMA_BYTES_SENT:
                return self._traffic.bytes_sent.value(now)
            case DiagnosticKind.EWMA_BYTES_RCVD:
                return self._traffic.bytes_received.value(now)
        return None

    # Requests that pass through

    def objection(
        self, header: ForwardingHeader, payload: bytes, previous_hop: NodeId, now: float
    ) -> tuple[ErrorCode, str] | None:
        """6.2: why a message with a diagnostics request or answer must not go on from here; None if it may."""
        expiration = self._expiration(header, payload)
        if expiration is None:
            return None
        if self._is_expired(expiration, now):
            # "Each intermediate peer [...] MUST check the expiration value [...]. If the message expired, the
            # intermediate peer MUST generate a response with error code 0x17".
            return ErrorCode.MESSAGE_EXPIRED, "by our date the message has expired"
        here = self._topology.node_id
        if any(entry.node_id == here for entry in header.via_list):
            # "The peer MUST return an error response with error code 0x19 "Error_Loop_Detected" when it finds a loop
            # through the analysis of the Via List."
            return ErrorCode.LOOP_DETECTED, f"{here} is in the via list already"
        target = header.destination_list[0].node_id or header.destination_list[0].resource_id
        if target is not None and self._topology.is_misrouted(previous_hop, target):
            # "when it finds its upstream peer disobeys the routing rules [...]. The immediate upstream peer information
            # MUST also be conveyed to the initiator node."
            return ErrorCode.UPSTREAM_MISROUTING, f"{previous_hop} knows a peer that is closer than {here}"
        return None

    def is_diagnostic(self, header: ForwardingHeader, payload: bytes) -> bool:
        """True for a Ping with the extension, a PathTrack request, and the answers to them."""
        return self._expiration(header, payload) is not None

    def _expiration(self, header: ForwardingHeader, payload: bytes) -> int | None:
        """When a diagnostics request or answer expires; None for all other messages, and for what cannot be read."""
        if not header.is_unfragmented or payload[:2] not in _CODES:
            return None
        length = len(self._topology.node_id)
        try:
            contents, _ = MessageContents.decode_prefix(payload)
            if contents.message_code is MessageCode.PATH_TRACK_REQ:
                return PathTrackReq.decode(contents.message_body, node_id_length=length).request.expiration
            if contents.message_code is MessageCode.PATH_TRACK_ANS:
                return PathTrackAns.decode(contents.message_body, node_id_length=length).response.expiration
            if (extension := _extension(contents)) is None:
                return None
            is_request = contents.message_code is MessageCode.PING_REQ
            return (DiagnosticsRequest if is_request else DiagnosticsResponse).decode(extension).expiration
        except DecodeError:
            return None

    def _is_expired(self, expiration_ms: int, now: float) -> bool:
        wall = self._exchange.transport.wall
        return wall.is_trusted and expiration_ms <= wall.date_ms(now)


_CODES = frozenset(
    code.to_bytes(2, "big")
    for code in (MessageCode.PING_REQ, MessageCode.PING_ANS, MessageCode.PATH_TRACK_REQ, MessageCode.PATH_TRACK_ANS)
)


def _extension(contents: MessageContents) -> bytes | None:
    found = (entry for entry in contents.extensions if entry.type is MessageExtensionType.DIAGNOSTIC_PING)
    return next((entry.extension_contents for entry in found), None)
