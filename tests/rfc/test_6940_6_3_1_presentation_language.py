"""RFC 6940 section 6.3.1: presentation language and common definitions."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.messages import ChordRouteQueryAns, ChordUpdate
from p2psip.reload.wire.common import AddressType, IpAddressPort
from p2psip.reload.wire.contents import MessageExtension, UnknownKinds
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import FindReq, StoreReq


def test_6_3_1_lengths_are_in_bytes_not_objects() -> None:
    """ "All lengths are denoted in bytes, not objects.": three Kind-IDs are twelve bytes."""
    assert UnknownKinds((1, 2, 3)).encode()[0] == 12


def test_6_3_1_all_integers_are_in_network_byte_order() -> None:
    """ "All integers are represented in network byte order." """
    assert UnknownKinds((0x01020304,)).encode() == bytes.fromhex("04 01020304")


def test_6_3_1_1_a_boolean_is_either_1_or_0() -> None:
    """ "A boolean value is either a 1 or a 0. [...] represented as a single byte on the wire." """
    assert [MessageExtension.decode(bytes([0, 1, value, 0, 0, 0, 0])).critical for value in (0, 1)] == [False, True]
    with pytest.raises(DecodeError, match="2 is not a Boolean"):
        MessageExtension.decode(bytes.fromhex("0001 02 00000000"))


@pytest.mark.parametrize("length", range(16, 21))
def test_6_3_1_1_node_ids_have_the_length_of_their_overlay(length: int) -> None:
    """ "The length is set on a per-overlay basis within the range of 16-20 bytes"; it is not on the wire."""
    node_id = NodeId(bytes(range(length)))
    assert ChordRouteQueryAns(node_id).encode() == bytes(range(length))
    assert ChordRouteQueryAns.decode(bytes(range(length)), node_id_length=length).next_peer == node_id


def test_6_3_1_1_resource_id_foo() -> None:
    """ "Thus, the 3-byte value "FOO" would be encoded as: 03 46 4f 4f." """
    assert FindReq(ResourceId(b"FOO"), ()).encode() == bytes.fromhex("03 46 4f 4f 00")


def test_6_3_1_1_resource_ids_have_at_most_254_bytes() -> None:
    """ "unlike NodeIds, ResourceIds are variable length, up to 254 bytes (2040 bits) in length" """
    longest = StoreReq(ResourceId(bytes(254)), 0, ())
    assert StoreReq.decode(longest.encode()) == longest
    with pytest.raises(DecodeError, match="at most 254 bytes, not 255"):
        StoreReq.decode(b"\xff" + bytes(255 + 5))


def test_6_3_1_1_ip_address_port_example() -> None:
    """ "the wire representation of the IPv4 address "192.0.2.1" with port "6084"" """
    assert IpAddressPort.of("192.0.2.1", 6084).encode() == bytes.fromhex("01 06 c0 00 02 01 17 c4")


def test_6_3_1_1_unknown_address_types_can_be_parsed_and_discarded() -> None:
    """ "an implementation which does not understand new address type X can still parse the IpAddressPort field" """
    address = IpAddressPort.decode(bytes.fromhex("63 03 010203"))
    assert (address.type, address.addr_port, address.host_port) == (AddressType(0x63), b"\1\2\3", None)
    assert address.encode() == bytes.fromhex("63 03 010203")


def test_6_3_1_1_unknown_types_elsewhere_are_parsing_errors() -> None:
    """ "Unless [...] explicitly allows for unknown types in the select, any unknown type SHOULD be treated as a
    parsing error" """
    with pytest.raises(DecodeError, match="77 is no ChordUpdateType"):
        ChordUpdate.decode(bytes.fromhex("00000000 4d"))
