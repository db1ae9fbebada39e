"""RFC 6940 section 6.3.3: message contents, response codes, and what errors carry."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    MessageExtension,
    MessageExtensionType,
    UnknownKinds,
)
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import body_of
from p2psip.reload.wire.storage_messages import StoreAns, StoreKindResponse
from p2psip.reload.wire.topology_messages import JoinReq, LeaveAns


def test_6_3_3_body_is_a_string_of_bytes() -> None:
    """ "The message body itself, represented as a variable-length string of bytes." """
    contents = MessageContents(MessageCode.PING_REQ, PingReq(b"x").encode())
    assert contents.encode() == bytes.fromhex("0017 00000003 0001 78 00000000")


def test_6_3_3_message_code_names_the_structure() -> None:
    """ "a message_code value of join_req means that the structure named JoinReq is inserted inside message_body" """
    join_req = JoinReq(NodeId(bytes(16)))
    assert body_of(MessageContents(MessageCode.JOIN_REQ, join_req.encode()), topology=CHORD_BODIES) == join_req


def test_6_3_3_empty_answers() -> None:
    """ "LeaveAns is an empty message": no bytes, but the length says so."""
    assert MessageContents(MessageCode.LEAVE_ANS, LeaveAns().encode()).encode() == bytes.fromhex(
        "0012 00000000 00000000"
    )


def test_6_3_3_unknown_extensions_say_whether_they_matter() -> None:
    """ "If critical = True and the recipient does not understand the message, it MUST generate an
    Error_Unknown_Extension error." For that it must be able to read it."""
    extension = MessageExtension(MessageExtensionType(0x7777), True, b"")
    assert MessageContents.decode(MessageContents(MessageCode.PING_REQ, b"", (extension,)).encode()).extensions == (
        extension,
    )


@pytest.mark.parametrize(
    ("code", "request_code"),
    [(MessageCode(code + 1), MessageCode(code)) for code in (0x1, 0x3, 0x7, 0x17, 0x23, 0x7FFD)],
)
def test_6_3_3_codes_are_paired(code: MessageCode, request_code: MessageCode) -> None:
    """ "requests being an odd value and the corresponding response being the request code plus 1" """
    assert request_code.is_request
    assert not code.is_request
    assert request_code.answer is code or request_code.answer == code


def test_6_3_3_1_error_response() -> None:
    """ "When the message code is 0xFFFF, the payload MUST be an ErrorResponse" """
    error = ErrorResponse.of(ErrorCode.TTL_EXCEEDED, "too far")
    contents = MessageContents(MessageCode.ERROR, error.encode())
    assert contents.encode()[:2] == b"\xff\xff"
    assert contents.message_body == bytes.fromhex("000a 0007") + b"too far"
    assert body_of(contents, topology=CHORD_BODIES) == error


def test_7_4_1_2_generation_counter_too_low_carries_a_store_answer() -> None:
    """ "The error_info in the ErrorResponse MUST be a StoreAns response" """
    answer = StoreAns((StoreKindResponse(1, 42, ()),))
    error = ErrorResponse(ErrorCode.GENERATION_COUNTER_TOO_LOW, answer.encode())
    assert StoreAns.decode(ErrorResponse.decode(error.encode()).error_info) == answer


def test_7_4_1_2_unknown_kind_lists_the_kinds() -> None:
    """ "KindId unknown_kinds<0..2^8-1>; which lists all the Kinds that were unrecognized" """
    assert UnknownKinds((7, 0xF0000001)).encode() == bytes.fromhex("08 00000007 f0000001")


@pytest.mark.parametrize(
    ("code", "value", "name"),
    [
        (ErrorCode.FORBIDDEN, 0x2, "Error_Forbidden"),
        (ErrorCode.DATA_TOO_OLD, 0x9, "Error_Data_Too_Old"),
        (ErrorCode.UNKNOWN_KIND, 0xC, "Error_Unknown_Kind"),
        (ErrorCode.IN_PROGRESS, 0x11, "Error_In_Progress"),
        (ErrorCode.INVALID_MESSAGE, 0x14, "Error_Invalid_Message"),
    ],
)
def test_14_9_error_codes(code: ErrorCode, value: int, name: str) -> None:
    """The registry's numbers and names."""
    assert (int(code), code.rfc_name) == (value, name)
