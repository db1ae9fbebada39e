"""p2psip.portmap.nat_pmp: the bytes of RFC 6886, and what is no answer."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.portmap.nat_pmp import NatPmp
from p2psip.portmap.values import NOWHERE, PortKind, WantedPort

UDP, TCP = WantedPort(PortKind.UDP, 6084), WantedPort(PortKind.TCP, 6084)
DIALECT = NatPmp()
GRANTED = bytes.fromhex("008100000000004d17c41b5800000e10")


def test_3_2_3_3_questions() -> None:
    assert DIALECT.greet().data == b"\0\0"
    assert DIALECT.ask(UDP, 3600, Address("", 7000)).data == bytes.fromhex("0001000017c41b5800000e10")
    assert DIALECT.ask(TCP, 3600, Address("", 6084)).data == bytes.fromhex("0002000017c417c400000e10")


def test_3_4_the_suggested_external_port_is_zero_in_what_is_given_up() -> None:
    assert DIALECT.ask(UDP, 0, Address("203.0.113.7", 7000)).data == bytes.fromhex("0001000017c4000000000000")


def test_3_2_the_outside_address() -> None:
    answer = DIALECT.read(bytes.fromhex("008000000000004dcb007107"))
    assert answer is not None
    assert (answer.wish, answer.outside, answer.epoch_s) == (None, Address("203.0.113.7", 0), 77)


def test_3_3_a_mapping() -> None:
    answer = DIALECT.read(GRANTED)
    assert answer is not None
    assert (answer.wish, answer.outside, answer.lifetime_s) == (UDP, Address("", 7000), 3600)
    assert not answer.is_proven, "it has nothing by which one would know that it was asked for"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GRANTED[:7],
        GRANTED[:-1],
        GRANTED + b"\0",
        b"\0\1" + GRANTED[2:],
        b"\2" + GRANTED[1:],
        b"\0\x83" + GRANTED[2:],
    ],
    ids=["empty", "head", "short", "long", "question", "version", "opcode"],
)
def test_what_is_no_answer(data: bytes) -> None:
    assert DIALECT.read(data) is None


@pytest.mark.parametrize("result", [1, 2, 3, 4, 5, 6, 65535])
@pytest.mark.parametrize("length", [8, 12, 16])
def test_3_5_every_result_code_has_words(result: int, length: int) -> None:
    """Routers say no in as many bytes as they like."""
    answer = DIALECT.read((GRANTED[:2] + result.to_bytes(2, "big") + GRANTED[4:])[:length])
    assert answer is not None
    assert answer.refusal
    assert answer.is_foreign is (result in (1, 5))
    assert (answer.wish == UDP) is (length == 16)
    assert answer.outside == (Address("", 7000) if length == 16 else NOWHERE)
