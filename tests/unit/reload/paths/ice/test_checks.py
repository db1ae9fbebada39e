"""p2psip.reload.paths.ice.checks: connectivity checks as bytes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.checks import (
    CheckAnswer,
    CheckCredentials,
    CheckRequest,
    CheckRole,
    Plain,
    encode_conflict,
    encode_request,
    encode_success,
    read,
)
from p2psip.reload.paths.values import SendStun
from p2psip.stun.attributes import ERROR_CODE, UNKNOWN_ATTRIBUTES
from p2psip.stun.integrity import signed
from p2psip.stun.message import BINDING, AttributeType, MessageClass, StunMessage, decode

OF_RFC_5769 = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
"""Section 2.1: a sample request, with a software name, of evtj:h6vY."""

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
SEEN = Address("203.0.113.9", 6000)
TRANSACTION = bytes(range(12))
THEIRS = CheckCredentials(b"abcd", b"p" * 22)
ROLE = CheckRole(is_controlling=True, tie_breaker=7)


def test_rfc_5769_2_1() -> None:
    """A check that somebody else has written."""
    request = read(OF_RFC_5769)
    assert isinstance(request, CheckRequest)
    assert (request.receiver, request.sender, request.priority) == (b"evtj", b"h6vY", 0x6E0001FF)
    assert request.role == CheckRole(is_controlling=False, tie_breaker=0x932FF9B151263B36)
    assert request.is_signed_by(PASSWORD)
    assert not request.is_signed_by(b"another")


@pytest.mark.parametrize("is_nominating", [False, True])
def test_a_request(is_nominating: bool) -> None:
    """7.1: what we say the other end reads."""
    request = read(encode_request(TRANSACTION, b"efgh", THEIRS, 99, ROLE, is_nominating=is_nominating))
    assert isinstance(request, CheckRequest)
    assert request[:6] == (TRANSACTION, b"abcd", b"efgh", 99, ROLE, is_nominating)
    assert request.is_signed_by(THEIRS.password)


@pytest.mark.parametrize("seen", [SEEN, Address("2001:db8::7", 6000), Address("fe80::7%eth0", 6000)], ids=str)
def test_an_answer(seen: Address) -> None:
    """It says from where the request was seen, zones apart."""
    answer = read(encode_success(TRANSACTION, seen, PASSWORD))
    assert isinstance(answer, CheckAnswer)
    assert (answer.transaction, answer.code) == (TRANSACTION, 0)
    assert answer.mapped == seen._replace(host=seen.host.partition("%")[0])
    assert answer.is_signed_by(PASSWORD)


def test_a_conflict() -> None:
    """7.3.1.1."""
    answer = read(encode_conflict(TRANSACTION, PASSWORD))
    assert isinstance(answer, CheckAnswer)
    assert (answer.code, answer.mapped, answer.is_signed_by(PASSWORD)) == (487, None, True)


def test_what_is_changed_is_signed_by_nobody() -> None:
    """Each bit counts; of the fingerprint it makes it no STUN."""
    data = encode_request(TRANSACTION, b"efgh", THEIRS, 99, ROLE)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        request = read(bytes(changed))
        assert not isinstance(request, CheckRequest) or not request.is_signed_by(THEIRS.password), place


def test_what_a_check_lacks() -> None:
    """Nobody's name: somebody asks for his address. No priority, no colon: nothing of ours."""

    def request(*attributes: tuple[int, bytes]) -> CheckRequest | CheckAnswer | Plain:
        return read(StunMessage(MessageClass.REQUEST, BINDING, TRANSACTION, attributes).encode())

    assert request() is Plain.QUESTION
    assert request((0x0006, b"abcd:efgh")) is Plain.OTHER
    assert request((0x0006, b"abcdefgh"), (0x0024, bytes(4))) is Plain.OTHER
    assert request((0x0006, b"abcd:efgh"), (0x0024, bytes(3))) is Plain.OTHER
    unsigned = request((0x0006, b"abcd:efgh"), (0x0024, bytes(4)))
    assert isinstance(unsigned, CheckRequest)
    assert not unsigned.is_signed_by(b"")


@pytest.mark.parametrize("data", [b"", b"\0", bytes(20), OF_RFC_5769[:-1], b"\1\x11" + OF_RFC_5769[2:]], ids=repr)
def test_what_is_nothing(data: bytes) -> None:
    """Garbage, and answers without an address or a code."""
    assert read(data) is Plain.OTHER
    for message_class in MessageClass:
        empty = StunMessage(message_class, BINDING, TRANSACTION).encode()
        assert read(empty) is (Plain.QUESTION if message_class is MessageClass.REQUEST else Plain.OTHER)


UNKNOWN = 0x7ABC


def checked(message_class: MessageClass, *more: tuple[int, bytes]) -> bytes:
    """A message of this class as its sender signs it, with more attributes."""
    whose = {MessageClass.REQUEST: encode_request(TRANSACTION, b"efgh", THEIRS, 99, ROLE, is_nominating=True)}
    message = decode(whose.get(message_class) or encode_success(TRANSACTION, SEEN, THEIRS.password))
    attributes = tuple(each for each in message.attributes if each[0] != AttributeType.MESSAGE_INTEGRITY)
    return signed(replace(message, attributes=(*attributes, *more)), THEIRS.password).encode()


def test_8489_6_3_1_a_check_with_what_must_be_understood_and_is_not_is_refused_with_its_name() -> None:
    """What may be ignored is; and what is ICE's own is known."""
    assert isinstance(read(checked(MessageClass.REQUEST, (UNKNOWN | 0x8000, b"abcd"))), CheckRequest)
    agents = Agents(random.Random(1))
    agents.handle_datagram(SEEN, SEEN, checked(MessageClass.REQUEST, (UNKNOWN, b"abcd")), 0.0)
    [sent] = agents.drain()
    assert isinstance(sent, SendStun)
    answer = decode(sent.data)
    error = ERROR_CODE.first(answer)
    assert error is not None
    assert error.code == 420
    assert UNKNOWN_ATTRIBUTES.first(answer) == (UNKNOWN,)


def test_8489_6_3_3_an_answer_with_what_must_be_understood_and_is_not_is_discarded() -> None:
    assert isinstance(read(checked(MessageClass.SUCCESS)), CheckAnswer)
    assert read(checked(MessageClass.SUCCESS, (UNKNOWN, b"abcd"))) is Plain.OTHER
