"""RFC 7851 section 5: the structures of diagnostics, byte by byte, and the values of each Kind."""

from __future__ import annotations

import pytest
from wire_specimens import INFOS, RESOURCE

from p2psip.base.ids import NodeId
from p2psip.reload.node.keeping.traffic import Average, Traffic
from p2psip.reload.wire.contents import MessageCode
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
    Value,
    flags_of,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError


def test_5_1_a_request_byte_by_byte() -> None:
    """expiration, timestamp_initiated, dMFlags, ext_length, and the list with its own length."""
    request = DiagnosticsRequest(1, 2, 4, (DiagnosticExtension(DiagnosticKind(0xF001), b"ab"),))
    parts = ["0000000000000001", "0000000000000002", "0000000000000004", "00000008", "00000008", "f001000000026162"]
    assert request.encode().hex() == "".join(parts)
    assert DiagnosticsRequest.decode(request.encode()) == request


def test_6_1_without_extensions_ext_length_is_zero() -> None:
    """ "If no extensions are included, the sender MUST set ext_length to zero."."""
    assert DiagnosticsRequest(1, 2, 4).encode()[24:] == bytes(8)


def test_5_1_an_ext_length_that_is_not_that_of_the_list_is_refused() -> None:
    """ "the length [...] of the data making up the diagnostic_extensions_list"."""
    whole = bytearray(DiagnosticsRequest(1, 2, 4).encode())
    whole[27] = 4
    with pytest.raises(DecodeError, match="two lengths"):
        DiagnosticsRequest.decode(bytes(whole))


def test_5_2_a_response_byte_by_byte() -> None:
    """hop_counter is one byte; each DiagnosticInfo has a Kind and a length of two bytes each."""
    info = DiagnosticInfo.of(DiagnosticKind.ROUTING_TABLE_SIZE, 12)
    response = DiagnosticsResponse(1, 2, 3, 98, (info,))
    parts = ["0000000000000001", "0000000000000002", "0000000000000003", "62", "00000008", "00000008"]
    assert response.encode().hex() == "".join([*parts, "000200040000000c"])


def test_4_3_1_path_track_byte_by_byte() -> None:
    """A Destination, then the request or the response; codes 0x27 and 0x28 (9.3)."""
    request = PathTrackReq(Destination.resource(RESOURCE), DiagnosticsRequest(1, 2, 0))
    assert request.encode() == Destination.resource(RESOURCE).encode() + DiagnosticsRequest(1, 2, 0).encode()
    node = Destination.node(NodeId(bytes(15) + b"\1"))
    response = DiagnosticsResponse(1, 2, 3, 4)
    assert PathTrackAns(node, response).encode() == node.encode() + response.encode()
    assert (MessageCode.PATH_TRACK_REQ, MessageCode.PATH_TRACK_ANS) == (0x27, 0x28)


def test_9_1_each_flag_is_the_bit_of_its_kind() -> None:
    """STATUS_INFO 0x2 to BATTERY_STATUS 0x10000."""
    assert DiagnosticKind.STATUS_INFO.flag == 0x2
    assert DiagnosticKind.UNDERLAY_HOP.flag == 0x8000
    assert DiagnosticKind.BATTERY_STATUS.flag == 0x10000
    assert flags_of(DiagnosticKind) == 0x1FFFE
    assert flags_of([DiagnosticKind(0xF001)]) == 0
    assert ALL_FLAGS == 0xFFFF_FFFF_FFFF_FFFF


@pytest.mark.parametrize(
    ("kind", "value", "contents"),
    [
        (DiagnosticKind.STATUS_INFO, 15, "0f"),
        (DiagnosticKind.ROUTING_TABLE_SIZE, 3, "00000003"),
        (DiagnosticKind.PROCESS_POWER, 1, "0000000000000001"),
        (DiagnosticKind.UPSTREAM_BANDWIDTH, 1, "0000000000000001"),
        (DiagnosticKind.DOWNSTREAM_BANDWIDTH, 1, "0000000000000001"),
        (DiagnosticKind.SOFTWARE_VERSION, "a/1", "612f3100"),
        (DiagnosticKind.MACHINE_UPTIME, 1, "0000000000000001"),
        (DiagnosticKind.APP_UPTIME, 1, "0000000000000001"),
        (DiagnosticKind.MEMORY_FOOTPRINT, 1, "0000000000000001"),
        (DiagnosticKind.DATASIZE_STORED, 1, "0000000000000001"),
        (DiagnosticKind.INSTANCES_STORED, (InstancesStored(1, 2),), "000000010000000000000002"),
        (
            DiagnosticKind.MESSAGES_SENT_RCVD,
            (MessagesSentRcvd(MessageCode.PING_REQ, 1, 2),),
            "001700000000000000010000000000000002",
        ),
        (DiagnosticKind.EWMA_BYTES_SENT, 1, "00000001"),
        (DiagnosticKind.EWMA_BYTES_RCVD, 1, "00000001"),
        (DiagnosticKind.UNDERLAY_HOP, 1, "01"),
        (DiagnosticKind.BATTERY_STATUS, 0x80, "80"),
    ],
    ids=lambda value: value.rfc_name if isinstance(value, DiagnosticKind) else "",
)
def test_5_3_the_value_of_each_kind(kind: DiagnosticKind, value: Value, contents: str) -> None:
    """Its width, and that it comes back."""
    info = DiagnosticInfo.of(kind, value)
    assert info.diagnostic_info_contents.hex() == contents
    assert DiagnosticInfo.decode(info.encode()).value == value


def test_5_3_every_kind_has_a_specimen() -> None:
    """So that nothing is left out of the tests that go over them."""
    assert [info.kind for info in INFOS] == list(DiagnosticKind)
    assert all(not isinstance(info.value, bytes) for info in INFOS)


@pytest.mark.parametrize(
    ("kind", "contents"),
    [
        (DiagnosticKind.PROCESS_POWER, bytes(4)),
        (DiagnosticKind.SOFTWARE_VERSION, b"no end"),
        (DiagnosticKind.SOFTWARE_VERSION, b"two\0ends\0"),
        (DiagnosticKind.SOFTWARE_VERSION, b""),
        (DiagnosticKind.INSTANCES_STORED, bytes(13)),
        (DiagnosticKind(0xF001), b"\1\2"),
    ],
)
def test_5_3_what_others_write_differently_is_told_as_bytes(kind: DiagnosticKind, contents: bytes) -> None:
    """One odd figure must not make the whole answer unreadable."""
    assert DiagnosticInfo(kind, contents).value == contents


def test_5_3_a_string_has_its_end_once_and_is_ascii() -> None:
    """ "\\0" MUST NOT be included in the string itself"."""
    info = DiagnosticInfo.of(DiagnosticKind.SOFTWARE_VERSION, "p\0ö")
    assert info.diagnostic_info_contents == b"p?\0"


def test_5_3_the_weighted_average() -> None:
    """ "sent = alpha x sent_present + (1 - alpha) x sent_last", every five seconds; the first is the plain average."""
    average = Average(0.0)
    average.add(500, 1.0)
    assert average.value(4.9) == 0
    assert average.value(5.0) == 100
    average.add(1000, 6.0)
    assert average.value(10.0) == round(0.8 * 200 + 0.2 * 100)
    assert average.value(15.0) == round(0.2 * 180)
    assert average.value(1e9) == 0


def test_5_3_messages_are_counted_by_code() -> None:
    """Whatever codes others make up, there are no more counters than codes."""
    traffic = Traffic(0.0)
    for code in range(0x10000):
        traffic.received(code.to_bytes(2, "big"), 10, 0.0)
    traffic.sent(b"\0\x17", 10, 0.0)
    traffic.sent(b"", 10, 0.0)
    counted = {entry.code: (entry.sent, entry.received) for entry in traffic.messages()}
    assert set(counted) == set(MessageCode)
    assert counted[MessageCode.PING_REQ] == (1, 1)
    assert counted[MessageCode.INVALID_MESSAGE_CODE][0] == 1
