"""Integrity: by whichever of the two hashes, and what is not covered by it does not count."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.stun.attributes import LIFETIME, SOFTWARE, USE_CANDIDATE
from p2psip.stun.integrity import SHA1, SHA256, integrity_of, is_signed, signed
from p2psip.stun.message import BINDING, AttributeType, MessageClass, NotStun, StunMessage, decode

KEY = b"a key that both have"


def request(*, has_fingerprint: bool = True) -> StunMessage:
    return StunMessage(MessageClass.REQUEST, BINDING, b"twelve bytes", (SOFTWARE.of("ours"),), has_fingerprint)


@pytest.mark.parametrize("kind", [SHA1, SHA256])
@pytest.mark.parametrize("has_fingerprint", [True, False])
def test_signed_by_who_has_the_key(kind: AttributeType, has_fingerprint: bool) -> None:
    data = signed(request(has_fingerprint=has_fingerprint), KEY, kind).encode()
    assert integrity_of(data) is kind
    assert is_signed(data, KEY)
    assert not is_signed(data, KEY + b"!")
    assert SOFTWARE.first(decode(data)) == "ours"


def test_unsigned() -> None:
    data = request().encode()
    assert integrity_of(data) is None
    assert not is_signed(data, KEY)


def test_9_1_3_of_two_the_stronger_counts() -> None:
    """Both may be there; 9.2.4: "If the MESSAGE-INTEGRITY-SHA256 attribute is present", it is what is looked at."""
    both = signed(signed(request(), KEY, SHA1), KEY, SHA256)
    assert integrity_of(both.encode()) is SHA256
    assert is_signed(both.encode(), KEY)
    forged = signed(signed(request(), KEY, SHA1), b"another", SHA256)
    assert not is_signed(forged.encode(), KEY)
    assert decode(both.encode()) == both


@pytest.mark.must("8489 9/1", "8489 9/2")
@pytest.mark.parametrize("kind", [SHA1, SHA256])
def test_9_what_follows_the_integrity_is_ignored(kind: AttributeType) -> None:
    message = signed(request(), KEY, kind)
    added = StunMessage(
        message.message_class,
        message.method,
        message.transaction,
        (*message.attributes, USE_CANDIDATE.of(True), LIFETIME.of(1)),
        has_fingerprint=True,
    )
    assert is_signed(added.encode(), KEY)
    assert decode(added.encode()) == message


def test_an_integrity_that_comes_too_late_is_none() -> None:
    """Nobody signs by himself what another has signed, by putting his own behind it."""
    message = signed(request(), KEY, SHA256)
    forged = signed(message, b"mine", SHA1)
    assert integrity_of(forged.encode()) is SHA256
    assert not is_signed(forged.encode(), b"mine")


@pytest.mark.must("8489 14.6/1")
@pytest.mark.parametrize("size", [0, 4, 16, 19, 28])
def test_14_6_a_truncated_one_is_not_taken(size: int) -> None:
    kind, value = signed(request(), KEY, SHA256).attributes[-1]
    short = StunMessage(MessageClass.REQUEST, BINDING, b"twelve bytes", (SOFTWARE.of("ours"), (kind, value[:size])))
    assert not is_signed(short.encode(), KEY)


@given(st.data(), st.sampled_from([SHA1, SHA256]))
def test_no_bit_may_be_another(choice: st.DataObject, kind: AttributeType) -> None:
    data = bytearray(signed(request(has_fingerprint=False), KEY, kind).encode())
    bit = choice.draw(st.integers(0, 8 * len(data) - 1))
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(NotStun):
        decode(bytes(data))
        assert not is_signed(bytes(data), KEY)
