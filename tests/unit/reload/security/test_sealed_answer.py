"""p2psip.reload.security.sealed_answer: a secret for who asked, and for nobody on the way."""

from __future__ import annotations

import random

import pytest

from p2psip.reload.security.sealed_answer import CannotUnseal, SealedQuestion, seal

PURPOSE = b"relay"


def test_who_asked_reads_it_and_nobody_else() -> None:
    question, other = SealedQuestion(random.Random(1)), SealedQuestion(random.Random(2))
    key, sealed = seal(question.key, b"secret", PURPOSE, random.Random(3))
    assert b"secret" not in sealed
    assert question.unseal(key, sealed, PURPOSE) == b"secret"
    for reader, wrong_key, what, purpose in (
        (other, key, sealed, PURPOSE),
        (question, other.key, sealed, PURPOSE),
        (question, key, sealed[:-1] + bytes((sealed[-1] ^ 1,)), PURPOSE),
        (question, key, sealed, b"another"),
        (question, b"", sealed, PURPOSE),
        (question, bytes(32), sealed, PURPOSE),
        (question, key, b"", PURPOSE),
    ):
        with pytest.raises(CannotUnseal):
            reader.unseal(wrong_key, what, purpose)


@pytest.mark.parametrize("key", [b"", b"short", bytes(32), bytes(33)])
def test_nothing_is_sealed_for_what_is_no_key(key: bytes) -> None:
    """All zeros is a point of small order: RFC 7748 section 6.1 has the secret that comes of it looked at."""
    with pytest.raises(CannotUnseal):
        seal(key, b"secret", PURPOSE, random.Random(3))
