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

PUSHED_KIND = 0xF0000010

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


def test_it_follows_a_new_configuration_and_new_kinds(overlay: LiveOverlay, configuration: Configuration) -> None:
    """ConfigUpdates of real peers reach it, with signatures that it believes; then all go on under the new one."""
    club = overlay.directory / "overlay"
    stale = Stranger(configuration, member(configuration, "bob"), overlay.directory)
    try:
        with joined(overlay, configuration, member(configuration, "alice")) as alice:
            overlay.command("overlay", "set", club, f"bad-node+={'ab' * 16}", "--sign")
            kind = f"{PUSHED_KIND:#x}:SINGLE:USER-MATCH:1:1000"
            overlay.command("overlay", "push", club, "--peer", overlay.peers[0].directory, "--kind", kind)
            eventually("it has the configuration", lambda: alice.peer.configuration.sequence > configuration.sequence)
            eventually("it knows the kind", lambda: PUSHED_KIND in alice.peer.configuration.models)
            where = wire.resource_id(alice.peer.identity.user.encode())
            alice.store(where, PUSHED_KIND, wire.Value(b"of the new kind"))
            assert alice.fetch(where, PUSHED_KIND).data == [b"of the new kind"]
            # 6.3.2.1: who comes with the old one gets "Error_Config_Too_Old", and "a ConfigUpdate message".
            there = bytes.fromhex(overlay.peers[0].node_id)
            stale.loop.do(stale.peer.bootstrap())
            eventually("the link is entered", lambda: stale.peer.link(there))
            stale.peer.ready.add(there)
            with pytest.raises(ErrorAnswer, check=lambda error: error.code == wire.CONFIG_TOO_OLD):
                stale.ping(wire.node(there))
            eventually("it is told", lambda: stale.peer.configuration.sequence == alice.peer.configuration.sequence)
            assert stale.ping(wire.node(there)) == there
    finally:
        stale.close()
