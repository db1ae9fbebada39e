"""What is sealed to a key is read with that key, for that purpose, and by nobody else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.reload.security.keys import PrivateKey
from p2psip.reload.security.sealed_answer import CannotUnseal
from p2psip.reload.security.sealed_to_key import seal_to, unseal_with
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import key

KINDS = [SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA]
SECRET = bytes(range(32))


def sealed(to: PrivateKey, seed: int = 1) -> bytes:
    return seal_to(to.public_key(), SECRET, b"mail", random.Random(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_owner_of_the_key_alone_reads_it_and_for_that_purpose(kind: SignatureAlgorithm) -> None:
    own, other = key(kind, 1), key(kind, 2)
    assert unseal_with(own, sealed(own), b"mail") == SECRET
    for reader, purpose in ((other, b"mail"), (own, b"another")):
        with pytest.raises(CannotUnseal):
            unseal_with(reader, sealed(own), purpose)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_changed_is_not_read(kind: SignatureAlgorithm) -> None:
    own = key(kind, 1)
    whole = sealed(own)
    for at in (0, 1, len(whole) // 2, len(whole) - 1):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(CannotUnseal):
            unseal_with(own, changed, b"mail")


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(CannotUnseal):
            unseal_with(key(kind, 1), data, b"mail")


def test_each_sealing_has_a_share_of_its_own() -> None:
    own = key(SignatureAlgorithm.ECDSA, 1)
    assert sealed(own, 1) == sealed(own, 1) != sealed(own, 2)
    assert SECRET not in sealed(own)
