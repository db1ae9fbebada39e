"""RFC 5769 and RFC 8489 Appendix B.1: what others have computed, we find right, and compute alike."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from p2psip.base.address import Address
from p2psip.stun.attributes import (
    ICE_CONTROLLED,
    NONCE,
    PRIORITY,
    REALM,
    SOFTWARE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from p2psip.stun.integrity import SHA1, SHA256, integrity_of, is_signed
from p2psip.stun.message import MessageClass, NotStun, decode

SHORT_TERM_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"

SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
    "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
    "c1b571a280280004e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b900000015001c"
    "662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014"
    "f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
SHA256_REQUEST = bytes.fromhex(
    "0001009c2112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bda952c67804"
    "17da0f2481941556"
    "9e60b205c46e41407f1704001500296f624d61744a6f733241414143662f2f3439396b39353464"
    "364f4c33346f4c394653547679363473410000000014000b6578616d706c652e6f726700001c0020e4686c8f0edeb590"
    "13e07090010a93efccbccc544c0a45d9f830aa6d6f735a01"
)


def test_5769_2_1_sample_request() -> None:
    message = decode(SAMPLE_REQUEST)
    assert (message.message_class, message.has_fingerprint) == (MessageClass.REQUEST, True)
    assert SOFTWARE.first(message) == "STUN test client"
    assert PRIORITY.first(message) == 0x6E0001FF
    assert ICE_CONTROLLED.first(message) == 0x932FF9B151263B36
    assert USERNAME.first(message) == "evtj:h6vY"
    assert integrity_of(SAMPLE_REQUEST) is SHA1
    assert is_signed(SAMPLE_REQUEST, SHORT_TERM_PASSWORD)


def test_5769_2_2_sample_ipv4_response() -> None:
    message = decode(SAMPLE_IPV4_RESPONSE)
    assert SOFTWARE.first(message) == "test vector"
    assert XOR_MAPPED_ADDRESS.first(message) == Address("192.0.2.1", 32853)
    assert is_signed(SAMPLE_IPV4_RESPONSE, SHORT_TERM_PASSWORD)


def test_5769_2_3_sample_ipv6_response() -> None:
    message = decode(SAMPLE_IPV6_RESPONSE)
    assert XOR_MAPPED_ADDRESS.first(message) == Address("2001:db8:1234:5678:11:2233:4455:6677", 32853)
    assert is_signed(SAMPLE_IPV6_RESPONSE, SHORT_TERM_PASSWORD)


def test_5769_2_4_sample_request_with_long_term_authentication() -> None:
    message = decode(LONG_TERM_REQUEST)
    assert USERNAME.first(message) == "マトリックス"
    assert NONCE.first(message) == "f//499k954d6OL34oL9FSTvy64sA"
    assert REALM.first(message) == "example.org"
    assert not message.has_fingerprint
    assert is_signed(LONG_TERM_REQUEST, hashlib.md5("マトリックス:example.org:TheMatrIX".encode()).digest())


@pytest.mark.must("8489 14.4/1")
def test_8489_b_1_sample_request_with_sha256_and_userhash() -> None:
    """The sample says that it is twenty bytes longer than it is, and its integrity was computed so: it is no whole
    message, but what is in it is right.
    """
    with pytest.raises(NotStun):
        decode(SHA256_REQUEST)
    whole = SHA256_REQUEST[:2] + (len(SHA256_REQUEST) - 20).to_bytes(2, "big") + SHA256_REQUEST[4:]
    message = decode(whole)
    assert USERHASH.first(message) == hashlib.sha256("マトリックス:example.org".encode()).digest()
    assert NONCE.first(message) == "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert integrity_of(whole) is SHA256
    key = hashlib.sha256("マトリックス:example.org:TheMatrIX".encode()).digest()
    assert message.attributes[-1][1] == hmac.digest(key, SHA256_REQUEST[:-36], "sha256")
