"""The foreign peer under other terms: RSA, which "All implementations MUST support", and several Node-IDs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import rfc6940_bytes as wire
from declared_kinds import DECLARED, NODE_KIND, SINGLE_KIND
from foreign_member import Stranger, anchor_der, member
from live_overlay import OVERLAY, LiveOverlay, eventually
from rfc6940_identity import RSA, Configuration, EnrollmentRefused, Identity, fetch_configuration
from rfc6940_peer import ErrorAnswer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    terms = ("--key", "rsa", "--key", "ecdsa")
    directory = tmp_path_factory.mktemp("terms")
    with LiveOverlay(directory, peers=2, users=("alice", "bob"), kinds=DECLARED, terms=terms) as live:
        yield live


@pytest.fixture(scope="module")
def configuration(overlay: LiveOverlay) -> Configuration:
    return fetch_configuration(overlay.url, OVERLAY, anchor_der(overlay.directory / "overlay" / "anchor.crt"))


@contextmanager
def joined(overlay: LiveOverlay, configuration: Configuration, identity: Identity) -> Iterator[Stranger]:
    stranger = Stranger(configuration, identity, overlay.directory)
    try:
        stranger.join()
        for peer in overlay.peers:
            eventually("they see it", lambda p=peer: stranger.hex in p.status()["successors"])
        yield stranger
        stranger.leave()
        assert stranger.peer.complaints == []
    finally:
        stranger.close()
    for peer in overlay.peers:
        eventually("they see it no more", lambda p=peer: stranger.hex not in p.status()["successors"])


def test_a_member_with_an_rsa_key(overlay: LiveOverlay, configuration: Configuration) -> None:
    """Its signatures hold for peers with keys of another kind, and theirs for it."""
    with joined(overlay, configuration, member(configuration, "alice", is_rsa=True)) as alice:
        assert alice.peer.identity.sign(b"").signature_algorithm == RSA
        where = wire.resource_id(alice.peer.identity.user.encode())
        alice.store(where, SINGLE_KIND, wire.Value(b"signed with RSA"))
        found = alice.fetch(where, SINGLE_KIND)
        assert (found.data, found.authors) == ([b"signed with RSA"], {alice.peer.identity.user})


def test_a_certificate_with_several_node_ids(overlay: LiveOverlay, configuration: Configuration) -> None:
    """6.3.4: cert_hash_node_id says as which of them a message is signed; values are each Node-ID's own."""
    identity = member(configuration, "bob", node_ids=3)
    assert len(identity.certificate.node_ids) == 3
    for as_which in (0, 2):
        with joined(overlay, configuration, identity.acting_as(as_which)) as bob:
            own, other = bob.node_id, identity.certificate.node_ids[1]
            assert own == identity.certificate.node_ids[as_which]
            bob.store(wire.resource_id(own), NODE_KIND, wire.Value(b"%d" % as_which))
            assert bob.fetch(wire.resource_id(own), NODE_KIND).data == [b"%d" % as_which]
            with pytest.raises(ErrorAnswer, check=lambda error: error.code == wire.FORBIDDEN):
                bob.store(wire.resource_id(other), NODE_KIND, wire.Value(b"as another"))


def test_what_the_enrollment_server_does_not_grant(configuration: Configuration) -> None:
    """11.3: "a body that consists of one of the tokens"."""
    with pytest.raises(EnrollmentRefused, match=r"\Ausername_not_available\Z"):
        member(configuration, "alice", name="bob")
    with pytest.raises(EnrollmentRefused, match=r"\ANode-IDs_not_available\Z"):
        member(configuration, "alice", node_ids=10_000)
    with pytest.raises(EnrollmentRefused, match=r"\Afailed_authentication\Z"):
        member(configuration, "nobody")
