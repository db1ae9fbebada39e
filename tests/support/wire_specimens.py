"""One RELOAD message of every type, complete with lists, certificate and signature, for tests in several folders."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.messages import (
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
    ChordUpdateType,
)
from p2psip.reload.wire.common import HashAlgorithm, IpAddressPort, SignatureAlgorithm
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode, MessageContents
from p2psip.reload.wire.diagnostics import (
    ALL_FLAGS,
    DiagnosticExtension,
    DiagnosticInfo,
    DiagnosticKind,
    DiagnosticsRequest,
    DiagnosticsResponse,
    InstancesStored,
    MessagesSentRcvd,
    PathTrackAns,
    PathTrackReq,
)
from p2psip.reload.wire.header import Destination, ForwardingHeader, overlay_hash
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, SIP_REGISTRATION, TURN_SERVICE
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import (
    AppAttachAns,
    AppAttachReq,
    AttachReqAns,
    CandType,
    ConfigUpdateAns,
    ConfigUpdateReq,
    IceCandidate,
    IceExtension,
    OverlayLinkType,
    PingAns,
    PingReq,
    ProbeAns,
    ProbeInformation,
    ProbeInformationType,
    ProbeReq,
)
from p2psip.reload.wire.message import Message
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.security_block import (
    CertificateType,
    GenericCertificate,
    SecurityBlock,
    Signature,
    SignatureAndHashAlgorithm,
    SignerIdentity,
)
from p2psip.reload.wire.storage_messages import (
    ArrayEntry,
    ArrayEntryMeta,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionaryEntryMeta,
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindAns,
    FindKindData,
    FindReq,
    MetaData,
    SingleSpecifier,
    StatAns,
    StatKindResponse,
    StatReq,
    StoreAns,
    StoredData,
    StoredDataSpecifier,
    StoredMetaData,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
)
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.reload.wire.usages.turn_server import TurnServer

A, B, C, D = (NodeId(bytes([number]) * 16) for number in (0xA1, 0xB2, 0xC3, 0xD4))
RESOURCE = ResourceId(bytes(range(16)))
TIME_MS = 1_700_000_000_000


def _certificate() -> bytes:
    key = ec.derive_private_key(6940, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    date = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, date, date + datetime.timedelta(days=365))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CERTIFICATE = _certificate()

SIGNATURE = Signature(
    SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.ECDSA),
    SignerIdentity.cert_hash(HashAlgorithm.SHA256, bytes(range(32))),
    bytes(range(70)),
)

CANDIDATES = (
    IceCandidate(IpAddressPort.of("192.0.2.1", 6084), OverlayLinkType.DTLS_UDP_SR, b"1", 2130706431, CandType.HOST),
    IceCandidate(
        IpAddressPort.of("198.51.100.7", 40000),
        OverlayLinkType.DTLS_UDP_SR,
        b"2",
        1694498815,
        CandType.SRFLX,
        IpAddressPort.of("192.0.2.1", 6084),
        (IceExtension(b"network-cost", b"10"),),
    ),
    IceCandidate(
        IpAddressPort.of("2001:db8::5", 49152),
        OverlayLinkType.DTLS_UDP_SR,
        b"3",
        16777215,
        CandType.RELAY,
        IpAddressPort.of("2001:db8::1", 6084),
    ),
)

REGISTRATION = SipRegistration.route((Destination.node(C),), b"(sip.schemes=SIP)").encode()
DICTIONARY_VALUE = StoredData(TIME_MS, 1800, DictionaryEntry(C, DataValue(True, REGISTRATION)), SIGNATURE)
ARRAY_VALUES = (
    StoredData(TIME_MS, 86400, ArrayEntry(0, DataValue(True, CERTIFICATE)), SIGNATURE),
    StoredData(0, 0, ArrayEntry(1, DataValue.nonexistent()), Signature.none()),
)
SINGLE_VALUE = StoredData(
    TIME_MS, 600, DataValue(True, TurnServer(3, IpAddressPort.of("203.0.113.9", 3478)).encode()), SIGNATURE
)
META = MetaData(True, 11, HashAlgorithm.SHA256, bytes(range(32)))

SPECIFIERS = (
    StoredDataSpecifier(TURN_SERVICE, 0, SingleSpecifier()),
    StoredDataSpecifier(CERTIFICATE_BY_NODE, 7, ArraySpecifier((ArrayRange(0, 3), ArrayRange(5, 0xFFFFFFFF)))),
    StoredDataSpecifier(SIP_REGISTRATION, 0, DictionarySpecifier((bytes(A), bytes(B)))),
)

LOCAL_KIND = DiagnosticKind(0xF000)

INFOS = (
    DiagnosticInfo.of(DiagnosticKind.STATUS_INFO, 3),
    DiagnosticInfo.of(DiagnosticKind.ROUTING_TABLE_SIZE, 12),
    DiagnosticInfo.of(DiagnosticKind.PROCESS_POWER, 6000),
    DiagnosticInfo.of(DiagnosticKind.UPSTREAM_BANDWIDTH, 40_000),
    DiagnosticInfo.of(DiagnosticKind.DOWNSTREAM_BANDWIDTH, 100_000),
    DiagnosticInfo.of(DiagnosticKind.SOFTWARE_VERSION, "p2psip/1.0 (Linux; x86_64)"),
    DiagnosticInfo.of(DiagnosticKind.MACHINE_UPTIME, 86_400),
    DiagnosticInfo.of(DiagnosticKind.APP_UPTIME, 3600),
    DiagnosticInfo.of(DiagnosticKind.MEMORY_FOOTPRINT, 60_000),
    DiagnosticInfo.of(DiagnosticKind.DATASIZE_STORED, 123_456),
    DiagnosticInfo.of(DiagnosticKind.INSTANCES_STORED, (InstancesStored(SIP_REGISTRATION, 41),)),
    DiagnosticInfo.of(DiagnosticKind.MESSAGES_SENT_RCVD, (MessagesSentRcvd(MessageCode.PING_REQ, 7, 8),)),
    DiagnosticInfo.of(DiagnosticKind.EWMA_BYTES_SENT, 1000),
    DiagnosticInfo.of(DiagnosticKind.EWMA_BYTES_RCVD, 2000),
    DiagnosticInfo.of(DiagnosticKind.UNDERLAY_HOP, 5),
    DiagnosticInfo.of(DiagnosticKind.BATTERY_STATUS, 0x80),
)

BODIES: list[tuple[str, MessageCode, Struct]] = [
    ("probe_req", MessageCode.PROBE_REQ, ProbeReq(tuple(ProbeInformationType)[:3])),
    (
        "probe_ans",
        MessageCode.PROBE_ANS,
        ProbeAns(
            (
                ProbeInformation(ProbeInformationType.RESPONSIBLE_SET, 250_000_000),
                ProbeInformation(ProbeInformationType.NUM_RESOURCES, 12),
                ProbeInformation(ProbeInformationType.UPTIME, 3600),
            )
        ),
    ),
    ("attach_req", MessageCode.ATTACH_REQ, AttachReqAns(b"ufrag", b"password", b"passive", CANDIDATES, True)),
    ("attach_ans", MessageCode.ATTACH_ANS, AttachReqAns(b"ufrag", b"password", b"active", CANDIDATES, False)),
    (
        "app_attach_req",
        MessageCode.APP_ATTACH_REQ,
        AppAttachReq(b"ufrag", b"password", 5061, b"passive", CANDIDATES),
    ),
    ("app_attach_ans", MessageCode.APP_ATTACH_ANS, AppAttachAns(b"ufrag", b"password", 5061, b"active", CANDIDATES)),
    (
        "store_req",
        MessageCode.STORE_REQ,
        StoreReq(
            RESOURCE,
            1,
            (
                StoreKindData(SIP_REGISTRATION, 99, (DICTIONARY_VALUE,)),
                StoreKindData(CERTIFICATE_BY_NODE, 107, ARRAY_VALUES),
                StoreKindData(TURN_SERVICE, 1, (SINGLE_VALUE,)),
            ),
        ),
    ),
    (
        "store_ans",
        MessageCode.STORE_ANS,
        StoreAns((StoreKindResponse(SIP_REGISTRATION, 100, (A, B)), StoreKindResponse(TURN_SERVICE, 2, ()))),
    ),
    ("fetch_req", MessageCode.FETCH_REQ, FetchReq(RESOURCE, SPECIFIERS)),
    (
        "fetch_ans",
        MessageCode.FETCH_ANS,
        FetchAns(
            (
                FetchKindResponse(SIP_REGISTRATION, 100, (DICTIONARY_VALUE,)),
                FetchKindResponse(CERTIFICATE_BY_NODE, 108, ARRAY_VALUES),
                FetchKindResponse(TURN_SERVICE, 2, ()),
            )
        ),
    ),
    ("stat_req", MessageCode.STAT_REQ, StatReq(RESOURCE, SPECIFIERS)),
    (
        "stat_ans",
        MessageCode.STAT_ANS,
        StatAns(
            (
                StatKindResponse(TURN_SERVICE, 2, (StoredMetaData(TIME_MS, 600, META),)),
                StatKindResponse(CERTIFICATE_BY_NODE, 8, (StoredMetaData(TIME_MS, 600, ArrayEntryMeta(4, META)),)),
                StatKindResponse(
                    SIP_REGISTRATION, 9, (StoredMetaData(TIME_MS, 600, DictionaryEntryMeta(bytes(A), META)),)
                ),
            )
        ),
    ),
    ("find_req", MessageCode.FIND_REQ, FindReq(RESOURCE, (TURN_SERVICE, SIP_REGISTRATION))),
    (
        "find_ans",
        MessageCode.FIND_ANS,
        FindAns((FindKindData(TURN_SERVICE, RESOURCE), FindKindData(SIP_REGISTRATION, ResourceId(b"\0")))),
    ),
    ("join_req", MessageCode.JOIN_REQ, JoinReq(A)),
    ("join_ans", MessageCode.JOIN_ANS, JoinAns()),
    (
        "leave_req from_succ",
        MessageCode.LEAVE_REQ,
        LeaveReq(A, ChordLeaveData(ChordLeaveType.FROM_SUCC, successors=(B, C)).encode()),
    ),
    (
        "leave_req from_pred",
        MessageCode.LEAVE_REQ,
        LeaveReq(A, ChordLeaveData(ChordLeaveType.FROM_PRED, predecessors=(B, C)).encode()),
    ),
    ("leave_ans", MessageCode.LEAVE_ANS, LeaveAns()),
    ("update_req peer_ready", MessageCode.UPDATE_REQ, ChordUpdate(60, ChordUpdateType.PEER_READY)),
    ("update_req neighbors", MessageCode.UPDATE_REQ, ChordUpdate(60, ChordUpdateType.NEIGHBORS, (A, B), (C, D))),
    ("update_req full", MessageCode.UPDATE_REQ, ChordUpdate(60, ChordUpdateType.FULL, (A,), (B, C), (C, D))),
    ("update_ans", MessageCode.UPDATE_ANS, UpdateAns()),
    ("route_query_req", MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(True, Destination.resource(RESOURCE))),
    ("route_query_ans", MessageCode.ROUTE_QUERY_ANS, ChordRouteQueryAns(C)),
    ("ping_req", MessageCode.PING_REQ, PingReq(bytes(100))),
    ("ping_ans", MessageCode.PING_ANS, PingAns(0x0123456789ABCDEF, TIME_MS)),
    (
        "config_update_req config",
        MessageCode.CONFIG_UPDATE_REQ,
        ConfigUpdateReq.config(b'<?xml version="1.0"?><overlay/>'),
    ),
    ("config_update_req kind", MessageCode.CONFIG_UPDATE_REQ, ConfigUpdateReq.kind((b"<kind-block/>", b"<k/>"))),
    ("config_update_ans", MessageCode.CONFIG_UPDATE_ANS, ConfigUpdateAns()),
    (
        "path_track_req",
        MessageCode.PATH_TRACK_REQ,
        PathTrackReq(
            Destination.resource(RESOURCE),
            DiagnosticsRequest(TIME_MS + 60_000, TIME_MS, ALL_FLAGS, (DiagnosticExtension(LOCAL_KIND, b"local"),)),
        ),
    ),
    (
        "path_track_ans",
        MessageCode.PATH_TRACK_ANS,
        PathTrackAns(Destination.node(C), DiagnosticsResponse(TIME_MS + 60_000, TIME_MS, TIME_MS + 12, 98, INFOS)),
    ),
    ("private_req", MessageCode.PRIVATE_REQ, PrivateReq(b"reach", bytes(20))),
    ("private_ans", MessageCode.PRIVATE_ANS, PrivateAns(bytes(3))),
    ("error", MessageCode.ERROR, ErrorResponse.of(ErrorCode.NOT_FOUND, "no such node")),
]
"""Name, message code and body, at least one for each message code that has a structure."""

SECURITY_BLOCK = SecurityBlock((GenericCertificate(CertificateType.X509, CERTIFICATE),), SIGNATURE)


def message(code: MessageCode, body: Struct, transaction_id: int = 0x1122334455667788) -> Message:
    """A message from A by way of B to the peer that is responsible for RESOURCE."""
    header = ForwardingHeader(
        overlay=overlay_hash("overlay.example"),
        configuration_sequence=1,
        ttl=99,
        transaction_id=transaction_id,
        max_response_length=0,
        via_list=(Destination.node(A),),
        destination_list=(Destination.node(B), Destination.resource(RESOURCE)),
    )
    contents = MessageContents(code, body.encode())
    return Message(header, contents.encode(), contents, SECURITY_BLOCK)
