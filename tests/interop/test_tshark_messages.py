"""tshark dissects one RELOAD message of every type: a second reading of RFC 6940, made by others.

It finds wrong structure, not wrong signatures. Where it is at fault itself, `EXCUSED` and the comments say so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import wire_specimens
from tshark import FRAMED_PORT, Dissection, dissect, needs_tshark
from wire_specimens import BODIES

from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    MessageExtension,
    MessageExtensionType,
)
from p2psip.reload.wire.diagnostics import DiagnosticsRequest, PathTrackReq
from p2psip.reload.wire.framing import FramedMessage
from p2psip.reload.wire.header import (
    FRAGMENT_ALWAYS_SET,
    CompressedDestination,
    Destination,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import BODIES as STRUCTURES
from p2psip.reload.wire.storage_messages import DataValue, DictionaryEntry, StoredData, StoreKindData, StoreReq
from p2psip.reload.wire.usages.redir import RedirServiceProvider, RedirServiceProviderExtType

pytestmark = [pytest.mark.slow, needs_tshark]

EXCUSED = {
    # It does not know SignerIdentityType none(3), with which section 7.4.2.2 signs what does not exist.
    "store_req": {"Unknown identity type"},
    "fetch_ans": {"Unknown identity type"},
}
"""Complaints of tshark that are its own fault, by message."""

EXPECTED = {
    "probe_req": ["requested_info (ProbeInformationType<3>): 3 elements", "uptime (0x03)"],
    "probe_ans": ["probe_info (ProbeInformation<18>): 3 elements", "num_resources (uint32): 12", "(uint32): 3600"],
    # Of a candidate it reads the priority from the candidate's start; all else is right.
    "attach_req": [
        "data (string): passive",
        "candidates (IceCandidate<112>): 3 elements",
        "IceCandidate: host",
        "IceCandidate: srflx",
        "IceCandidate: relay",
        "rel_addr_port (IpAddressPort): IPV6 (2001:db8::1:6084)",
        "extensions (IceExtensions<18>): 1 elements",
        "send_update (Boolean): True",
    ],
    "attach_ans": ["data (string): active", "send_update (Boolean): False"],
    "app_attach_req": ["application (uint16): SIP (5061)", "candidates (IceCandidate<112>): 3 elements"],
    "app_attach_ans": ["application (uint16): SIP (5061)", "data (string): active"],
    "store_req": [
        "replica_number (uint8): 1",
        "generation_counter (uint64): 107",
        "SIP-REGISTRATION",
        "type (SipRegistrationType): sip_registration_route (2)",
        "data (string): (sip.schemes=SIP)",
        "NodeId: c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3",
        "index (uint32): 1",
        "exists (Boolean): False",
        "IPv4AddrPort: 203.0.113.9:3478",
        "storage_time (uint64): Nov 14, 2023 22:13:20",
    ],
    "store_ans": ["StoreKindResponse", "replicas (NodeId<32>)", "generation_counter (uint64): 100"],
    # The dictionary keys behind this it reads at a wrong offset.
    "fetch_req": ["specifiers(StoredDataSpecifier<98>): 3 elements", "ArrayRange [0-3]", "ArrayRange [5-end]"],
    "fetch_ans": ["kind (KindId): 1 (SIP-REGISTRATION)", "CERTIFICATE_BY_NODE", "lifetime (uint32): 86400"],
    "stat_req": ["specifiers(StoredDataSpecifier<98>): 3 elements", "ArrayRange [0-3]", "ArrayRange [5-end]"],
    "stat_ans": [
        "StoredMetaData<55>): 1 elements",
        "StoredMetaData<59>): 1 elements",
        "StoredMetaData<73>): 1 elements",
        "value_length (uint32): 11",
    ],
    "find_req": ["kinds(KindId<8>): 2 elements"],
    "find_ans": ["(FindKindData<27>): 2 elements", "closest (ResourceId<1>)"],
    "join_req": ["joining_peer_id (NodeId): a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"],
    "join_ans": ["overlay_specific_data (opaque<0>)"],
    "leave_req from_succ": ["type (ChordLeaveType): from_succ (1)", "successors (NodeId<32>):2 elements"],
    "leave_req from_pred": ["type (ChordLeaveType): from_pred (2)", "predecessors (NodeId<32>):2 elements"],
    "leave_ans": ["message_body (LeaveAns<0>)"],
    "update_req peer_ready": ["type (ChordUpdateType): peer_ready (1)"],
    "update_req neighbors": ["predecessors (NodeId<32>):2 elements", "successors (NodeId<32>):2 elements"],
    "update_req full": ["predecessors (NodeId<16>):1 elements", "fingers (NodeId<32>):2 elements"],
    "update_ans": ["message_body (UpdateAns<0>)"],
    "route_query_req": ["send_update (Boolean): True", "destination (Destination): resource"],
    "route_query_ans": ["next_peer (NodeId): c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"],
    "ping_req": ["padding (opaque<100>)"],
    "ping_ans": ["response_id (uint64): 81985529216486895", "time (uint64): Nov 14, 2023 22:13:20"],
    "config_update_req config": ["type (ConfigUpdateType): config (1)", "<overlay/>"],
    "config_update_req kind": ["kinds (KindDescription<21>): 2 elements", "<kind-block/>"],
    "config_update_ans": ["message_body (ConfigUpdateAns<0>)"],
    # It knows PathTrack by the codes of a draft: `test_path_track_by_the_codes_of_a_draft`.
    "path_track_req": ["message_code (uint16): 39 (Unknown", "message_body (opaqueReq<62>)"],
    "path_track_ans": ["message_code (uint16): 40 (Unknown", "message_body (opaqueAns<"],
    "private_req": ["message_code (uint16): 32513 (Unknown", "message_body (opaqueReq<28>)"],
    "private_ans": ["message_code (uint16): 32514 (Unknown", "message_body (opaqueAns<5>)"],
    "error": ["error_code (uint16): Error_Not_Found (3)", "data (string): no such node"],
}
"""Some of what tshark must say of each message; of all of them it must say `ALWAYS`."""

ALWAYS = [
    "ttl (uint8): 99",
    "(Fragment) (Last)",
    "via_list (Destination<18>): 1 elements",
    "destination_list (Destination<37>): 2 elements",
    "resource_id (ResourceId<16>)",
    "extensions (0 elements)",
    "certificate (id-at-commonName=peer)",
    "hash (HashAlgorithm): SHA256 (4)",
    "identity_type (SignerIdentityType): cert_hash (1)",
    "signature_value (opaque<70>)",
]


@pytest.fixture(scope="module")
def dissections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dissection]:
    """One message of every type, each in a transaction of its own."""
    packets = [
        wire_specimens.message(code, body, transaction_id).encode()
        for transaction_id, (_, code, body) in enumerate(BODIES, start=1)
    ]
    found = dissect(tmp_path_factory.mktemp("tshark"), packets, 9999)
    return {name: dissection for (name, _, _), dissection in zip(BODIES, found, strict=True)}


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, code, _ in BODIES])
def test_nothing_is_malformed(dissections: dict[str, Dissection], name: str, code: MessageCode) -> None:
    """Every message is dissected to its end, with no complaint that is not tshark's own fault."""
    found = dissections[name]
    assert found.message_code == code
    assert not found.is_malformed, found.text
    assert found.complaints == EXCUSED.get(name, set())


@pytest.mark.parametrize("name", [name for name, _, _ in BODIES])
def test_fields_mean_what_we_mean(dissections: dict[str, Dissection], name: str) -> None:
    """Header, body and security block have the values that went in."""
    missing = [words for words in [*ALWAYS, *EXPECTED[name]] if words not in dissections[name].text]
    assert not missing, dissections[name].text


def test_frames(tmp_path: Path) -> None:
    """The framing header of section 6.6.2 around a message, and the acknowledgement of it."""
    ping = wire_specimens.message(MessageCode.PING_REQ, PingReq(b"hello")).encode()
    frames = [FramedMessage.data(41, ping).encode(), FramedMessage.ack(41, 0b110).encode()]
    data, ack = dissect(tmp_path, frames, FRAMED_PORT)
    assert data.message_code == MessageCode.PING_REQ
    assert not data.is_malformed | ack.is_malformed
    for words in ("type (FramedMessageType): DATA (128)", "sequence (uint32): 41", "padding (opaque<5>)"):
        assert words in data.text
    # Bit k of the mask it shows as sequence number N-1-k; section 6.6.2 says N-k.
    for words in ("type (FramedMessageType): ACK (129)", "ack_sequence (uint32): 41"):
        assert words in ack.text


def test_a_wrong_structure_would_be_found(tmp_path: Path) -> None:
    """The oracle can say no: a body that is cut short."""
    name, code, body = BODIES[2]
    whole = wire_specimens.message(code, body).encode()
    (found,) = dissect(tmp_path, [whole.replace(b"\0\x70", b"\0\x77", 1)], 9999)
    assert found.is_malformed or found.complaints, name


def contents(found: Dissection) -> str:
    """What tshark says of the message's contents."""
    return found.text.partition("MessageContents")[2].partition("SecurityBlock")[0]


def test_path_track_by_the_codes_of_a_draft(tmp_path: Path) -> None:
    """tshark has 101 and 102 for 0x27 and 0x28, and no timestamp_initiated in the answer: after next_hop and expiration
    all of that is misaligned. The request it reads as we write it, both lengths included.
    """
    bodies = {name: body for name, _, body in BODIES}
    request, answer = bodies["path_track_req"], bodies["path_track_ans"]
    assert isinstance(request, PathTrackReq)
    plain = replace(request, request=replace(request.request, diagnostic_extensions_list=()))
    packets = [
        wire_specimens.message(MessageCode(101), plain).encode(),
        wire_specimens.message(MessageCode(102), answer).encode(),
    ]
    asked, answered = dissect(tmp_path, packets, 9999)
    assert not asked.is_malformed
    assert not asked.complaints
    for words in (
        "destination (Destination) (Destination): resource",
        "expiration (uint64): Nov 14, 2023 22:14:20",
        "timestampInitiated (uint64): Nov 14, 2023 22:13:20",
        "dMFlags (uint64): 0xffffffffffffffff",
    ):
        assert words in contents(asked)
    assert "next_hop (Destination): node" in contents(answered)
    assert "expiration (uint64): Nov 14, 2023 22:14:20" in contents(answered)


def with_extensions(*extensions: MessageExtension) -> bytes:
    """A Ping with message extensions."""
    ping = MessageContents(MessageCode.PING_REQ, PingReq().encode(), extensions)
    return replace(
        wire_specimens.message(MessageCode.PING_REQ, PingReq()), contents=ping, contents_bytes=ping.encode()
    ).encode()


def test_message_extensions(tmp_path: Path) -> None:
    """Type, critical, contents; Diagnostic_Ping, 2 in RFC 7851, is 3 to tshark."""
    request = DiagnosticsRequest(wire_specimens.TIME_MS + 60_000, wire_specimens.TIME_MS, 2)
    packets = [
        with_extensions(MessageExtension(MessageExtensionType.EXP_EXT, True, b"abc")),
        with_extensions(MessageExtension(MessageExtensionType(3), False, request.encode())),
    ]
    unknown, diagnostic = dissect(tmp_path, packets, 9999)
    assert "type (MessageExtensionType): exp-ext (1)" in contents(unknown)
    assert "critical (Boolean): True" in contents(unknown)
    assert "type (MessageExtensionType): Diagnostic_Ping (3)" in contents(diagnostic)
    assert "timestampInitiated (uint64): Nov 14, 2023 22:13:20" in contents(diagnostic)
    for found in (unknown, diagnostic):
        assert not found.is_malformed
        assert not found.complaints


def with_header(**fields: object) -> bytes:
    """A Ping under another header."""
    ping = wire_specimens.message(MessageCode.PING_REQ, PingReq())
    return ping.with_header(replace(ping.header, **fields)).encode()  # type: ignore[arg-type]


def test_headers(tmp_path: Path) -> None:
    """Options with their flags, opaque and compressed entries, a limit for the answer; of a fragment the offset."""
    option = ForwardingOption(
        ForwardingOptionType.EXP_FORWARD,
        ForwardingOptionFlags.FORWARD_CRITICAL | ForwardingOptionFlags.RESPONSE_COPY,
        b"opt",
    )
    packets = [
        with_header(options=(option,), max_response_length=4711),
        with_header(via_list=(Destination.opaque(b"state"), CompressedDestination(0x8123))),
        with_header(fragment=FRAGMENT_ALWAYS_SET | 1000),
    ]
    options, lists, piece = dissect(tmp_path, packets, 9999)
    for words in ("max_response_length (uint32): 4711", "FORWARD_CRITICAL: Set", "RESPONSE_COPY: Set"):
        assert words in options.text
    assert "DESTINATION_CRITICAL: Not set" in options.text
    for words in ("compressed_id (opaque<5>)", "data (bytes): 7374617465", "compressed_id (uint16): 0x8123"):
        assert words in lists.text
    for words in ("Last Fragment: Not set", "Fragment Offset: 1000"):
        assert words in piece.text
    for found in (options, lists, piece):
        assert not found.is_malformed


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[ErrorCode, Dissection]:
    """An error of each code."""
    codes = [code for code in ErrorCode if code]
    packets = [wire_specimens.message(MessageCode.ERROR, ErrorResponse.of(code, "")).encode() for code in codes]
    return dict(zip(codes, dissect(tmp_path_factory.mktemp("errors"), packets, 9999), strict=True))


UNKNOWN_TO_TSHARK = {ErrorCode.INVALID_MESSAGE, *(code for code in ErrorCode if code > ErrorCode.INVALID_MESSAGE)}
"""Error_Invalid_Message it does not know; those of RFC 7851 it has by the numbers of a draft, from 101 on."""


@pytest.mark.parametrize("code", [code for code in ErrorCode if code], ids=lambda code: code.rfc_name)
def test_error_codes_have_the_names_that_others_give_them(errors: dict[ErrorCode, Dissection], code: ErrorCode) -> None:
    """All of 14.9."""
    name = "Unknown" if code in UNKNOWN_TO_TSHARK else code.rfc_name
    assert f"error_code (uint16): {name} ({int(code)})" in errors[code].text


UNNAMED = {
    MessageCode.PATH_TRACK_REQ,
    MessageCode.PATH_TRACK_ANS,
    MessageCode.PRIVATE_REQ,
    MessageCode.PRIVATE_ANS,
}
"""Those that tshark has no name for, or that are ours."""


def test_every_message_code_is_asked_for(dissections: dict[str, Dissection]) -> None:
    """All that have a structure, and all by the name that tshark has for them."""
    seen = {found.message_code for found in dissections.values()}
    assert seen == {int(code) for code in (*STRUCTURES, *CHORD_BODIES)}
    for found, (_, code, _) in zip(dissections.values(), BODIES, strict=True):
        if code is MessageCode.ERROR:
            assert "message_code (uint16): Error" in found.text
        elif code not in UNNAMED:
            assert f"message_code (uint16): {int(code)} ({code.rfc_name})" in found.text


def test_a_service_in_its_tree(tmp_path: Path) -> None:
    """RFC 7374: tshark has REDIR by the number and the format of a draft (104, without types and lists), so it is told
    that 0x104 is a dictionary: the record it reads as far as its value.
    """
    provider = RedirServiceProvider(
        RedirServiceProviderExtType.NONE, (Destination.node(wire_specimens.C),), b"voice-mail", 2, 3, b""
    )
    entry = DictionaryEntry(bytes(wire_specimens.C), DataValue(True, provider.encode()))
    value = StoredData(wire_specimens.TIME_MS, 600, entry, wire_specimens.SIGNATURE)
    store = StoreReq(wire_specimens.RESOURCE, 0, (StoreKindData(REDIR, 7, (value,)),))
    packet = wire_specimens.message(MessageCode.STORE_REQ, store).encode()
    kind = ("-o", f'uat:reload_kindids:"{REDIR}","SERVICES","DICTIONARY"')
    (found,) = dissect(tmp_path, [packet], 9999, kind)
    assert not found.is_malformed
    assert not found.complaints
    for words in (
        "kind (KindId): 260 (SERVICES)",
        "generation_counter (uint64): 7",
        "value (DictionaryEntry)",
        f"{len(provider.encode())}",
        "exists (Boolean): True",
        "lifetime (uint32): 600",
    ):
        assert words in contents(found)
