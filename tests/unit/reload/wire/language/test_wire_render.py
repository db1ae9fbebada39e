"""Decoded values for people and programs (p2psip.reload.wire.language.render)."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_strategies import all_structures, values_of

from p2psip.base.ids import NodeId
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse
from p2psip.reload.wire.framing import FramedMessage
from p2psip.reload.wire.header import (
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.render import to_json, tree
from p2psip.reload.wire.link_messages import AttachReqAns, CandType, IceCandidate, OverlayLinkType, PingReq

HEADER = ForwardingHeader(
    overlay=0xA,
    configuration_sequence=1,
    transaction_id=2**64 - 1,
    destination_list=(Destination.node(NodeId(b"\xaa" * 16)),),
    options=(
        ForwardingOption(
            ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags.FORWARD_CRITICAL | ForwardingOptionFlags(0x80), b""
        ),
    ),
)
CANDIDATE = IceCandidate(IpAddressPort.of("192.0.2.1", 6084), OverlayLinkType.DTLS_UDP_SR, b"1", 5, CandType.HOST)


def test_tree_of_a_header() -> None:
    """Names, numbers as the RFC writes them, lists entry by entry."""
    assert tree(HEADER) == "\n".join(
        [
            "relo_token: 0xd2454c4f",
            "overlay: 0x0000000a",
            "configuration_sequence: 1",
            "version: 0x0a",
            "ttl: 100",
            "fragment: 0xc0000000",
            "length: 0",
            "transaction_id: 0xffffffffffffffff",
            "max_response_length: 0",
            "via_list: (none)",
            "destination_list:",
            "  [0] node " + "aa" * 16,
            "options:",
            "  [0] ForwardingOption",
            "    type: exp-forward (1)",
            "    flags: FORWARD_CRITICAL 0x80",
            "    option: (empty)",
        ]
    )


def test_tree_of_nested_structures() -> None:
    """Text as text, addresses in one line, absent fields absent."""
    assert tree({"body": AttachReqAns(b"u", b"\xff", b"passive", (CANDIDATE,), True)}) == "\n".join(
        [
            "body: AttachReqAns",
            '  ufrag: "u"',
            "  password: ff",
            '  role: "passive"',
            "  candidates:",
            "    [0] IceCandidate",
            "      addr_port: 192.0.2.1:6084",
            "      overlay_link: DTLS-UDP-SR (1)",
            '      foundation: "1"',
            "      priority: 5",
            "      type: host (1)",
            "      extensions: (none)",
            "  send_update: true",
        ]
    )


def test_long_values_are_cut_in_trees_only() -> None:
    """A padding of 200 zeros does not fill the screen."""
    assert tree(PingReq(bytes(200))) == f"padding: {'00' * 48}... (200 bytes)"
    assert to_json(PingReq(bytes(200))) == {"padding": "00" * 200}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ErrorResponse(ErrorCode.NOT_FOUND, b"no"), {"error_code": "Error_Not_Found", "error_info": "6e6f"}),
        (ErrorResponse(ErrorCode(99), b""), {"error_code": "unknown(99)", "error_info": ""}),
        (FramedMessage.ack(1, 2), {"type": "ack", "ack_sequence": 1, "received": 2}),
        (HEADER.options[0], {"type": "exp-forward", "flags": ["FORWARD_CRITICAL", "0x80"], "option": ""}),
        ({"body": None, "list": (True, 1)}, {"body": None, "list": [True, 1]}),
    ],
)
def test_json(value: object, expected: object) -> None:
    """Bytes as hex, enums by the RFC's name, what a type has not is not there."""
    assert to_json(value) == expected


def test_what_is_not_of_the_wire_is_a_bug() -> None:
    """A float has crept in."""
    with pytest.raises(AssertionError, match="float is no value of the wire"):
        to_json({"x": 1.5})


@pytest.mark.parametrize("struct", all_structures(), ids=lambda struct: struct.__name__)
@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(data=st.data(), model=st.sampled_from(DataModel))
def test_everything_can_be_shown(struct: type, data: st.DataObject, model: DataModel) -> None:
    """In both forms, with no line break inside a line."""
    value = data.draw(values_of(struct, model))
    names = [name for name, _, _ in value.items()]
    shown = json.loads(json.dumps(to_json(value)))
    assert list(shown) == names
    assert [line.split(":")[0] for line in tree(value).splitlines() if not line.startswith(" ")] == names
