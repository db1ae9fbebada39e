"""Keys agreed on by signed messages (p2psip.reload.security.key_agreement)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2psip.reload.security.key_agreement import BadRecord, KeyExchange, KeyShare, SealedRecords

HERE, THERE = bytes([1] * 16), bytes([2] * 16)


def agree(**changes: object) -> tuple[SealedRecords, SealedRecords]:
    """Both ends of an exchange; `changes` are what the answerer has heard otherwise."""
    ours, theirs = KeyShare(random.Random(1)), KeyShare(random.Random(2))
    agreement = KeyExchange(b"test", 7, 8, HERE, THERE, ours.public, theirs.public)
    heard = replace(agreement, **changes)  # type: ignore[arg-type]
    return ours.agree(agreement, is_initiator=True), theirs.agree(heard, is_initiator=False)


def test_each_direction_has_a_key_of_its_own() -> None:
    initiator, responder = agree()
    assert responder.open(0, initiator.seal(0, b"INVITE")) == b"INVITE"
    assert initiator.open(0, responder.seal(0, b"200 OK")) == b"200 OK"
    with pytest.raises(BadRecord):
        initiator.open(0, initiator.seal(0, b"INVITE"))


def test_a_record_is_good_under_its_own_number_alone() -> None:
    initiator, responder = agree()
    sealed = initiator.seal(5, b"BYE")
    with pytest.raises(BadRecord, match="record 6 is not"):
        responder.open(6, sealed)
    damaged = bytes([sealed[0] ^ 1]) + sealed[1:]
    with pytest.raises(BadRecord):
        responder.open(5, damaged)
    assert responder.open(5, sealed) == b"BYE"


@pytest.mark.parametrize(
    "changes",
    [{"purpose": b"other"}, {"overlay": 8}, {"number": 9}, {"initiator": THERE}, {"responder": HERE}],
    ids=lambda changes: next(iter(changes)),
)
def test_all_that_was_said_is_in_the_keys(changes: dict[str, object]) -> None:
    """Whoever has heard something else has other keys, and another transcript to compare."""
    initiator, responder = agree(**changes)
    with pytest.raises(BadRecord):
        responder.open(0, initiator.seal(0, b"INVITE"))


@pytest.mark.parametrize("share", [b"", bytes(31), bytes(32), b"\x01" + bytes(31), bytes(33)])
def test_a_share_that_is_none_is_refused(share: bytes) -> None:
    """Of a wrong length, or of small order: all zeros and one are such points (RFC 7748 section 6.1)."""
    ours = KeyShare(random.Random(1))
    with pytest.raises(BadRecord, match="no point"):
        ours.agree(KeyExchange(b"test", 7, 8, HERE, THERE, ours.public, share), is_initiator=True)
