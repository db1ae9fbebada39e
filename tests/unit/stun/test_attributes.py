"""What is in attributes: each format there and back, and what is malformed ends in NotStun."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.stun import attributes
from p2psip.stun.attributes import (
    ADDRESS_ERROR_CODE,
    ALTERNATE_SERVER,
    CHANGE_REQUEST,
    CHANNEL_NUMBER,
    DATA,
    DONT_FRAGMENT,
    ERROR_CODE,
    EVEN_PORT,
    ICE_CONTROLLING,
    ICMP,
    LIFETIME,
    PASSWORD_ALGORITHMS,
    REALM,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    USERHASH,
    XOR_PEER_ADDRESS,
    AddressError,
    Algorithm,
    Change,
    Family,
    Icmp,
    StunAttribute,
    StunErrorCode,
)
from p2psip.stun.message import BINDING, AttributeType, MessageClass, NotStun, StunMessage, decode

TRANSACTION = bytes(range(12))
PEER6 = Address("2001:db8::7", 4000)


def message(*pairs: tuple[int, bytes]) -> StunMessage:
    return decode(StunMessage(MessageClass.REQUEST, BINDING, TRANSACTION, pairs).encode())


@pytest.mark.parametrize(
    ("attribute", "value", "encoded"),
    [
        (ALTERNATE_SERVER, Address("192.0.2.1", 3478), "00010d96c0000201"),
        (ERROR_CODE, StunErrorCode(438, "Stale Nonce"), "00000426" + b"Stale Nonce".hex()),
        (ADDRESS_ERROR_CODE, AddressError(Family.IPV6, 440), "02000428"),
        (UNKNOWN_ATTRIBUTES, (0x7FFF, 3), "7fff0003"),
        (PASSWORD_ALGORITHMS, (Algorithm.SHA256, Algorithm.MD5), "0002000000010000"),
        (REALM, "example.org", b"example.org".hex()),
        (USERHASH, bytes(32), "00" * 32),
        (ICE_CONTROLLING, 2**63, "8000000000000000"),
        (CHANNEL_NUMBER, 0x4FFF, "4fff0000"),
        (LIFETIME, 600, "00000258"),
        (DATA, b"", ""),
        (REQUESTED_TRANSPORT, 17, "11000000"),
        (REQUESTED_ADDRESS_FAMILY, Family.IPV6, "02000000"),
        (EVEN_PORT, True, "80"),
        (EVEN_PORT, False, "00"),
        (DONT_FRAGMENT, True, ""),
        (RESERVATION_TOKEN, b"8 bytes.", b"8 bytes.".hex()),
        (ICMP, Icmp(3, 4, 1280), "0000030400000500"),
        (CHANGE_REQUEST, Change(address=True, port=False), "00000004"),
    ],
)
def test_written_and_read(attribute: StunAttribute[Any], value: object, encoded: str) -> None:
    pair = attribute.of(value, TRANSACTION)
    assert pair == (attribute.kind, bytes.fromhex(encoded))
    assert attribute.first(message(pair)) == value


@pytest.mark.must("8489 14.8/3", "8489 14.8/4")
@pytest.mark.parametrize(
    ("attribute", "data"),
    [
        (ERROR_CODE, "000004"),
        (ERROR_CODE, "00000200"),
        (ERROR_CODE, "00000464"),
        (ADDRESS_ERROR_CODE, "03000428"),
        (UNKNOWN_ATTRIBUTES, "7fff00"),
        (PASSWORD_ALGORITHMS, "0002"),
        (PASSWORD_ALGORITHMS, "00020008"),
        (PASSWORD_ALGORITHMS, "0002ffff00000000"),
        (REALM, "ff"),
        (REALM, "61" * 764),
        (USERHASH, "00" * 31),
        (ICE_CONTROLLING, "80000000"),
        (CHANNEL_NUMBER, "4fff"),
        (LIFETIME, ""),
        (REQUESTED_ADDRESS_FAMILY, "03000000"),
        (EVEN_PORT, ""),
        (RESERVATION_TOKEN, "00" * 7),
        (ICMP, "00000304"),
        (CHANGE_REQUEST, ""),
        (ALTERNATE_SERVER, "00020d96c0000201"),
    ],
)
def test_what_is_malformed(attribute: StunAttribute[Any], data: str) -> None:
    with pytest.raises(NotStun):
        attribute.first(message((attribute.kind, bytes.fromhex(data))))


@pytest.mark.must("8489 14.1/3", "8489 14.8/2")
def test_bits_that_nobody_reads() -> None:
    """14.8: "Receivers MUST ignore these bits"; so with what RFC 8656 reserves."""
    assert ERROR_CODE.first(message((ERROR_CODE.kind, bytes.fromhex("fffffc01")))) == StunErrorCode(401)
    assert REQUESTED_TRANSPORT.first(message((REQUESTED_TRANSPORT.kind, b"\x11abc"))) == 17
    server = (ALTERNATE_SERVER.kind, bytes.fromhex("ff010d96c0000201"))
    assert ALTERNATE_SERVER.first(message(server)) == Address("192.0.2.1", 3478)


def test_14_the_first_one_counts_and_all_can_be_had() -> None:
    one, two = Address("192.0.2.1", 1), Address("192.0.2.2", 2)
    both = message(XOR_PEER_ADDRESS.of(one, TRANSACTION), XOR_PEER_ADDRESS.of(two, TRANSACTION))
    assert XOR_PEER_ADDRESS.first(both) == one
    assert XOR_PEER_ADDRESS.every(both) == (one, two)
    assert XOR_PEER_ADDRESS.within(both)
    assert (LIFETIME.first(both), LIFETIME.every(both), LIFETIME.within(both)) == (None, (), False)


def test_14_2_an_ipv6_address_is_obfuscated_with_the_transaction() -> None:
    kind, value = XOR_PEER_ADDRESS.of(PEER6, TRANSACTION)
    other = StunMessage(MessageClass.REQUEST, BINDING, bytes(12), ((kind, value),))
    assert XOR_PEER_ADDRESS.first(message((kind, value))) == PEER6
    assert XOR_PEER_ADDRESS.first(other) != PEER6


@pytest.mark.must("8489 14.12/1")
def test_parameters_of_an_algorithm_are_skipped_with_their_padding() -> None:
    pair = (PASSWORD_ALGORITHMS.kind, bytes.fromhex("0009000561626364650000000002 0000"))
    assert PASSWORD_ALGORITHMS.first(message(pair)) == (9, 2)


DECLARED = [each for each in vars(attributes).values() if isinstance(each, StunAttribute)]


def test_every_attribute_is_declared_once() -> None:
    """All types but the three whose values message.py and integrity.py make."""
    kinds = sorted(each.kind for each in DECLARED)
    made = {AttributeType.MESSAGE_INTEGRITY, AttributeType.MESSAGE_INTEGRITY_SHA256, AttributeType.FINGERPRINT}
    assert kinds == sorted(set(AttributeType) - made)


@given(st.sampled_from(DECLARED), st.binary(max_size=80))
def test_whatever_is_read_ends_in_a_value_that_can_be_written_or_in_not_stun(
    attribute: StunAttribute[Any], data: bytes
) -> None:
    try:
        value = attribute.first(message((attribute.kind, data)))
    except NotStun:
        return
    assert attribute.first(message(attribute.of(value, TRANSACTION))) == value
