"""STUN messages, and the Binding requests that are answered (RFC 8489, RFC 5769, RFC 5626 section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import (
    BINDING,
    INTEGRITY,
    MESSAGE_BYTES_MAX,
    AttributeType,
    MessageClass,
    NotStun,
    StunMessage,
    decode,
    may_be_stun,
)

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PHONE = Address("192.0.2.1", 32853)
PHONE6 = Address("2001:db8:1234:5678:11:2233:4455:6677", 32853)

# RFC 5769 section 2.2.
RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200008"
    "0001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)


def request(*attributes: tuple[int, bytes], method: int = BINDING, has_fingerprint: bool = False) -> bytes:
    return StunMessage(MessageClass.REQUEST, method, TRANSACTION, attributes, has_fingerprint).encode()


def answer_with(attribute: tuple[int, bytes]) -> StunMessage:
    return decode(StunMessage(MessageClass.SUCCESS, BINDING, TRANSACTION, (attribute,)).encode())


def test_5769_2_2_the_sample_response() -> None:
    message = decode(RESPONSE)
    assert (message.message_class, message.method, message.transaction) == (MessageClass.SUCCESS, BINDING, TRANSACTION)
    values = dict(message.attributes)
    assert values[0x8022] == b"test vector"
    assert XOR_MAPPED_ADDRESS.first(message) == PHONE
    assert message.has_fingerprint
    # It is padded with a blank, which may be anything; we write zeros.
    assert decode(message.encode()) == message


@pytest.mark.parametrize(
    ("address", "value"),
    [(PHONE, "0001a147e112a643"), (PHONE6, "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9")],
)
def test_5769_addresses(address: Address, value: str) -> None:
    attribute = XOR_MAPPED_ADDRESS.of(address, TRANSACTION)
    assert attribute[1].hex() == value
    assert XOR_MAPPED_ADDRESS.first(answer_with(attribute)) == address


def test_an_ipv4_phone_on_a_dual_stack_socket_is_told_its_ipv4_address() -> None:
    mapped = Address("::ffff:192.0.2.1", 32853)
    assert XOR_MAPPED_ADDRESS.first(answer_with(XOR_MAPPED_ADDRESS.of(mapped, TRANSACTION))) == PHONE


def test_a_scope_is_no_part_of_the_address() -> None:
    attribute = XOR_MAPPED_ADDRESS.of(Address("fe80::1%eth0", 5060), TRANSACTION)
    assert XOR_MAPPED_ADDRESS.first(answer_with(attribute)) == Address("fe80::1", 5060)


@pytest.mark.parametrize("has_fingerprint", [False, True])
def test_a_binding_request_is_answered(has_fingerprint: bool) -> None:
    """RFC 5626 section 8: no attributes are needed in the request, XOR-MAPPED-ADDRESS is in the response."""
    data = answer_binding(request(has_fingerprint=has_fingerprint), PHONE)
    assert data is not None
    mapped = XOR_MAPPED_ADDRESS.of(PHONE, TRANSACTION)
    assert decode(data) == StunMessage(MessageClass.SUCCESS, BINDING, TRANSACTION, (mapped,), has_fingerprint)


def test_optional_and_known_attributes_do_not_matter() -> None:
    data = answer_binding(request((0x8022, b"a client"), (AttributeType.USERNAME, b"alice")), PHONE)
    assert data is not None
    assert decode(data).message_class is MessageClass.SUCCESS


def test_6_3_1_unknown_attributes_that_must_be_understood() -> None:
    """420, and their names; however many there are, the answer is small."""
    data = answer_binding(request((0x7FFF, b""), (0x8022, b""), (0x0003, b"1234")), PHONE)
    assert data is not None
    refusal = decode(data)
    values = dict(refusal.attributes)
    assert refusal.message_class is MessageClass.ERROR
    assert values[AttributeType.ERROR_CODE][:4] == bytes((0, 0, 4, 20))
    assert values[AttributeType.UNKNOWN_ATTRIBUTES].hex() == "7fff0003"
    many = request(*((kind, b"") for kind in range(0x100, 0x200)))
    assert len(answer_binding(many, PHONE) or b"") < 70


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 20,
        RESPONSE,
        request(method=0x003),
        StunMessage(MessageClass.INDICATION, BINDING, TRANSACTION).encode(),
        request()[:-1],
        request() + b"\0\0\0\0",
        request((0x8022, b"x"))[:-1] + b"",
        b"\x40" + request()[1:],
        request().replace(b"\x21\x12\xa4\x42", b"\x21\x12\xa4\x43"),
        request((0x8022, bytes(MESSAGE_BYTES_MAX))),
        request()[:2] + b"\0\4" + request()[4:] + b"\x80\x22\0\x05",
        request(has_fingerprint=True)[:-1] + b"x",
        b"REGISTER sip:overlay SIP/2.0\r\n\r\n",
    ],
)
def test_whatever_else_it_is_gets_no_answer(data: bytes) -> None:
    assert answer_binding(data, PHONE) is None


@pytest.mark.must("8489 14.1/1", "8489 14.1/2")
@pytest.mark.parametrize(
    "value", ["", "0001a147e112a6", "0002a147e112a643", "0001a1470113a9faa5d3f179bc25f4b5bed2b9d9"]
)
def test_addresses_that_are_none(value: str) -> None:
    with pytest.raises(NotStun):
        XOR_MAPPED_ADDRESS.first(answer_with((AttributeType.XOR_MAPPED_ADDRESS, bytes.fromhex(value))))


@given(st.binary(max_size=200))
def test_an_answer_is_hardly_longer_than_its_question(data: bytes) -> None:
    """Who asks in another's name gains nothing by it."""
    for question in (data, request()[:20] + data, request((0x8022, data), has_fingerprint=True)):
        answer = answer_binding(question, PHONE6)
        assert answer is None or len(answer) <= len(question) + 40


kinds = st.integers(0, 0xFFFF).filter(lambda kind: kind not in (AttributeType.FINGERPRINT, *INTEGRITY))
messages = st.builds(
    StunMessage,
    st.sampled_from(MessageClass),
    st.integers(0, 0xFFF),
    st.binary(min_size=12, max_size=12),
    st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=6).map(tuple),
    st.booleans(),
)


@given(messages)
def test_what_is_written_is_read_again(message: StunMessage) -> None:
    assert decode(message.encode()) == message


@pytest.mark.parametrize(
    ("data", "may_be"), [(b"", False), (b"\0", True), (b"\3", True), (b"\4", False), (b"R", False)]
)
def test_7983_the_first_byte(data: bytes, may_be: bool) -> None:
    assert may_be_stun(data) is may_be
