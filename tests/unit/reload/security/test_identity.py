"""A node or a line of our own."""

from __future__ import annotations

import hashlib

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.roles import Identity
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.security_block import SignerIdentity
from p2psip.sim.membership import Club, key, node_id


def test_6_3_4_one_node_id_is_signed_with_cert_hash() -> None:
    alice = Club.of().member()
    expected = SignerIdentity.cert_hash(HashAlgorithm.SHA256, hashlib.sha256(alice.chain[0]).digest())
    assert alice.sign(b"").identity == expected


def test_6_3_4_several_node_ids_are_signed_with_cert_hash_node_id() -> None:
    """ "H(NodeId || certificate). The NodeId is represented without any framing or length fields"."""
    alice = Club.of().member(node_ids=[node_id(1), node_id(2)], signs_as=node_id(2))
    hashed = hashlib.sha256(node_id(2) + alice.chain[0]).digest()
    assert alice.sign(b"").identity == SignerIdentity.cert_hash_node_id(HashAlgorithm.SHA256, hashed)


def test_it_is_an_identity() -> None:
    identity: Identity = Club.of().member()
    assert identity.node_id == node_id(1)
    assert identity.user == "alice@club.example"
    assert len(identity.certificates) == 1


def test_the_key_must_be_that_of_the_certificate() -> None:
    club = Club.of()
    with pytest.raises(LocalMisuse, match="private key is not that"):
        CertifiedIdentity(key(number=1), [club.certificate()])


def test_the_node_id_must_be_in_the_certificate() -> None:
    club = Club.of()
    with pytest.raises(LocalMisuse, match="does not have Node-ID"):
        CertifiedIdentity(key(), [club.certificate()], node_id(5))
