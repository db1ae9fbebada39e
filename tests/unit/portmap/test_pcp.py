"""p2psip.portmap.pcp: the bytes of RFC 6887, and what is no answer."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.portmap.pcp import Pcp
from p2psip.portmap.values import HomeRouter, PortKind, WantedPort

WISH = WantedPort(PortKind.UDP, 6084)
DIALECT = Pcp(HomeRouter("192.168.1.1", "192.168.1.2"), b"secret")
LOCAL = bytes(10) + b"\xff\xff" + bytes((192, 168, 1, 2))
OUTSIDE = bytes(10) + b"\xff\xff" + bytes((203, 0, 113, 7))
NONCE = DIALECT.ask(WISH, 3600, Address("", 6084)).data[24:36]
GRANTED = (
    b"\x02\x81\0\0" + (3600).to_bytes(4, "big") + (77).to_bytes(4, "big") + bytes(12)
    + NONCE + b"\x11\0\0\0" + (6084).to_bytes(2, "big") + (7000).to_bytes(2, "big") + OUTSIDE
)  # fmt: skip


def test_7_1_11_1_a_request() -> None:
    asked = DIALECT.ask(WISH, 3600, Address("203.0.113.7", 7000)).data
    assert asked[:24] == b"\x02\x01\0\0\0\0\x0e\x10" + LOCAL
    assert asked[36:] == b"\x11\0\0\0\x17\xc4\x1b\x58" + OUTSIDE
    assert DIALECT.greet().data == b"\x02\0\0\0\0\0\0\0" + LOCAL


def test_15_what_is_given_up_has_no_suggestion() -> None:
    asked = DIALECT.ask(WISH, 0, Address("203.0.113.7", 7000)).data
    assert asked[4:8] == bytes(4)
    assert asked[42:] == bytes(2) + bytes(10) + b"\xff\xff" + bytes(4)


def test_11_2_nonces_differ_by_port_and_router_and_last() -> None:
    other = Pcp(HomeRouter("10.0.0.1", "192.168.1.2"), b"secret")
    nonces = {
        each.ask(wish, 60, Address("", 1)).data[24:36]
        for each in (DIALECT, other)
        for wish in (WISH, WISH._replace(port=1))
    }
    assert len(nonces) == 4
    assert Pcp(HomeRouter("192.168.1.1", "192.168.1.2"), b"secret").ask(WISH, 60, Address("", 1)).data[24:36] == NONCE


def test_11_1_an_answer() -> None:
    answer = DIALECT.read(GRANTED)
    assert answer is not None
    assert (answer.wish, answer.outside, answer.lifetime_s) == (WISH, Address("203.0.113.7", 7000), 3600)
    assert (answer.epoch_s, answer.refusal, answer.is_proven) == (77, "", True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GRANTED[:-1],
        GRANTED[:56],
        GRANTED + bytes(1044),
        GRANTED[:1] + b"\x01" + GRANTED[2:],
        GRANTED[:24] + bytes(12) + GRANTED[36:],
        GRANTED[:36] + b"\x06" + GRANTED[37:],
        GRANTED[:36] + b"\x01" + GRANTED[37:],
        GRANTED[:40] + b"\0\1" + GRANTED[42:],
        b"\x03" + GRANTED[1:],
    ],
    ids=["empty", "odd", "short", "long", "question", "nonce", "protocol", "unknown-protocol", "port", "version"],
)
def test_8_3_11_4_what_is_no_answer_to_us(data: bytes) -> None:
    assert DIALECT.read(data) is None


@pytest.mark.parametrize("result", range(1, 256))
def test_7_4_every_result_code_has_words(result: int) -> None:
    answer = DIALECT.read(GRANTED[:3] + bytes((result,)) + GRANTED[4:])
    assert answer is not None
    assert answer.refusal
    assert answer.is_foreign is (result in (1, 4))


def test_appendix_a_a_router_that_knows_nat_pmp_alone() -> None:
    answer = DIALECT.read(b"\0\x81\0\1\0\0\0\0")
    assert answer is not None
    assert answer.is_foreign


def test_an_outside_address_of_ipv6_is_read_as_such() -> None:
    answer = DIALECT.read(GRANTED[:44] + b"\x20\x01\x0d\xb8" + bytes(11) + b"\1")
    assert answer is not None
    assert answer.outside.host == "2001:db8::1"
