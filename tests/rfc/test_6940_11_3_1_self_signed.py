"""RFC 6940 section 11.3.1: certificates of the members' own making."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.daemon.init import PeerRequest, init_peer
from p2psip.enrollment.client import self_enroll
from p2psip.enrollment.user_names import next_name
from p2psip.reload.config.configuration import CERTIFICATE_KINDS, SIP_REGISTRATION_KIND, OverlayConfiguration
from p2psip.reload.config.write import build
from p2psip.reload.node.effects import UserNameTaken
from p2psip.reload.security.authority import NO_END, Validity, self_signed
from p2psip.reload.security.errors import CertificateProblem, UntrustedCertificate
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey
from p2psip.reload.storage.verified import Believer
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.certificate_store import fetch_request, read_certificates
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.kinds import CERTIFICATE_BY_USER
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.sim.certified import CertifiedOverlay
from p2psip.sim.invariants import chord_of
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key, node_id

DIGESTS = {HashAlgorithm.SHA1: hashlib.sha1, HashAlgorithm.SHA256: hashlib.sha256}
ALWAYS = Validity(0.0, NO_END)


def club(digest: HashAlgorithm = HashAlgorithm.SHA256, **changes: object) -> Club:
    """An overlay that permits self-signed certificates and has no enrollment server."""
    return Club.of(self_signed_digest=digest, enrollment_servers=(), **changes)


def spki(private: PrivateKey) -> bytes:
    """ "the DER representation of the user's public key (more specifically, the subjectPublicKeyInfo)" """
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def forged(number: int, *node_ids: NodeId, user: str = f"mallory@{OVERLAY}") -> bytes:
    """A certificate that claims Node-IDs which are not its key's."""
    return self_signed(key(number=number), OVERLAY, user, node_ids, random.Random(1), ALWAYS)


@pytest.mark.must("11.3.1/2")
@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("algorithm", [SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA])
def test_11_3_1_the_node_id_is_the_digest_of_the_key(digest: HashAlgorithm, algorithm: SignatureAlgorithm) -> None:
    """ "applying the digest [...] to the DER representation of the user's public key [...] and taking the high-order
    bits", computed here from the words alone, and of 16 to 20 bytes.
    """
    private = key(algorithm, 4)
    for length in (16, 20):
        configuration = OverlayConfiguration(OVERLAY, self_signed_digest=digest, node_id_length=length)
        identity = self_enroll(configuration, private, f"x@{OVERLAY}", random.Random(1))
        assert identity.node_ids == (NodeId(DIGESTS[digest](spki(private)).digest()[:length]),)


@pytest.mark.must("11.3.1/2")
def test_11_3_1_several_node_ids_count_from_one_before_the_key() -> None:
    """ "the index of the Node-ID (from 1 [...]) must be prepended as a 4-byte big-endian integer" """
    private = key(number=4)
    identity = self_enroll(club().configuration, private, f"x@{OVERLAY}", random.Random(1), nodeids=3)
    prefixes = [b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3"]
    expected = tuple(NodeId(hashlib.sha256(prefix + spki(private)).digest()[:16]) for prefix in prefixes)
    assert identity.node_ids == expected
    assert club().verifier.check(identity.chain, DATE, True).node_ids == expected


@pytest.mark.must("11.3.1/3")
def test_11_3_1_a_node_id_that_is_not_its_key_s_is_refused() -> None:
    """ "This prevents Node-ID theft.": of another member, of a number out of turn, or by the other digest."""
    private, verifier = key(number=4), club().verifier
    honest = self_enroll(club().configuration, key(number=5), f"x@{OVERLAY}", random.Random(1))
    first_of_several = NodeId(hashlib.sha256(b"\0\0\0\1" + spki(private)).digest()[:16])
    by_sha1 = NodeId(hashlib.sha1(spki(private)).digest()[:16])
    low_bits = NodeId(hashlib.sha256(spki(private)).digest()[16:])
    own = NodeId(hashlib.sha256(spki(private)).digest()[:16])
    for stolen in ([honest.node_id], [first_of_several], [by_sha1], [low_bits], [own, honest.node_id], [node_id(1)]):
        with pytest.raises(UntrustedCertificate) as caught:
            verifier.check([forged(4, *stolen)], DATE, True)
        assert caught.value.problem is CertificateProblem.WRONG_NODE_ID
    assert verifier.check([forged(4, own)], DATE, True).node_ids == (own,)


@pytest.mark.must("11.3.1/3")
def test_11_3_1_a_forged_peer_does_not_get_in() -> None:
    """Three peers join, store and fetch; a fourth, which claims a place in the ring, is refused by each of them."""
    here = club()

    def identity(number: int) -> CertifiedIdentity:
        if number < 3:
            user = f"peer-p{number}@{OVERLAY}"
            return self_enroll(here.configuration, key(number=number), user, random.Random(number))
        return CertifiedIdentity(key(number=number), [forged(number, node_id(7))])

    overlay = CertifiedOverlay(here, "forged", identity_of=identity, root_certs=())
    overlay.grow(3)
    overlay.add_peer(3)
    overlay.world.run_for(60.0)
    assert not overlay.nodes["p3"].is_serving
    for name in ("p0", "p1", "p2"):
        node = overlay.nodes[name]
        assert not node.is_linked(node_id(7))
        assert node_id(7) not in chord_of(node).table
        assert len(chord_of(node).table.successors) == 2


@pytest.mark.must("11.3.1/1")
def test_11_3_1_a_new_peer_makes_its_own_certificate(tmp_path: Path) -> None:
    """No server is asked: there is none. Where self-signed certificates are not permitted, none is made."""
    document = tmp_path / "config.xml"
    here = club()
    document.write_bytes(build(here.configuration, founding().signer))
    request = PeerRequest(str(document), here.anchor.fingerprint, "hill")
    state = asyncio.run(init_peer(tmp_path / "peer", request))
    assert state.identity.user == f"peer-hill@{OVERLAY}"
    assert state.identity.node_id == NodeId(hashlib.sha256(spki(state.identity.key)).digest()[:16])
    assert here.verifier.check(state.identity.chain, DATE, True).user == f"peer-hill@{OVERLAY}"
    document.write_bytes(build(Club.of().configuration, founding().signer))
    with pytest.raises(LocalMisuse):
        asyncio.run(init_peer(tmp_path / "other", request))


@pytest.mark.must("11.3.1/5")
def test_11_3_1_names_are_protected_by_enrollment_only() -> None:
    """Anybody may take alice's name where certificates are self-signed; where they are not, nobody but she."""
    mallory = self_enroll(club().configuration, key(number=6), f"alice@{OVERLAY}", random.Random(1))
    assert club().verifier.check(mallory.chain, DATE, True).user == f"alice@{OVERLAY}"
    with pytest.raises(UntrustedCertificate) as caught:
        Club.of().verifier.check(mallory.chain, DATE, True)
    assert caught.value.problem is CertificateProblem.UNKNOWN_ISSUER


def names_taken(overlay: CertifiedOverlay, name: str) -> list[UserNameTaken]:
    """What a peer says of names."""
    return [event for event in overlay.world.hosts[name].events if isinstance(event, UserNameTaken)]


def certificates_of(overlay: CertifiedOverlay, user: str) -> set[NodeId]:
    """Whose certificates are in the overlay under a user name, as p0 finds them."""
    host, resource = overlay.world.hosts["p0"], hash_name(user.encode())
    request = fetch_request(CERTIFICATE_BY_USER, resource)
    handle = overlay.command(host, lambda context, now: overlay.node(host).fetch(request, context, now))
    answer = overlay.wait_done(host, handle).result
    assert isinstance(answer, Answer)
    assert isinstance(answer.body, FetchAns)
    reader = Believer(overlay.node(host).reader.rules, WallClock(DATE))
    verified = read_certificates(resource, answer.body, answer.certificates, reader, overlay.world.now)
    return {value.signer.node_id for value in verified.of(CERTIFICATE_BY_USER)}


@pytest.mark.must("11.3.1/4")
def test_11_3_1_the_certificate_is_stored_and_a_name_that_is_taken_is_left_alone() -> None:
    """ "It MUST store its certificate in the overlay (Section 8), but SHOULD look to see if the user name is already
    taken and, if so, choose another user name." The third peer has the second one's name, by accident.
    """
    here = club()
    users = {0: f"peer-hill@{OVERLAY}", 1: f"peer-lake@{OVERLAY}", 2: f"peer-lake@{OVERLAY}"}
    makes: dict[int, str] = dict(users)

    def identity(number: int) -> CertifiedIdentity:
        return self_enroll(here.configuration, key(number=number), makes[number], random.Random(number))

    overlay = CertifiedOverlay(
        here, "names", identity_of=identity, root_certs=(), required_kinds=(SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS)
    )
    for number in range(3):
        overlay.add_peer(number)
        overlay.world.run_for(10.0)
    first, second = identity(1).node_id, identity(2).node_id
    assert certificates_of(overlay, users[0]) == {identity(0).node_id}
    assert certificates_of(overlay, users[1]) == {first}
    assert names_taken(overlay, "p2") == [UserNameTaken(users[2], second, first)]
    assert not names_taken(overlay, "p0") + names_taken(overlay, "p1")
    # As its daemon does: the same key, so the same Node-ID, and another name.
    makes[2] = next_name(users[2])
    node = overlay.nodes["p2"]
    overlay.world.call(overlay.world.hosts["p2"], lambda now: node.use_identity(identity(2), now))
    overlay.world.run_for(10.0)
    assert makes[2] == f"peer-lake-2@{OVERLAY}"
    assert certificates_of(overlay, makes[2]) == {second}
    assert len(names_taken(overlay, "p2")) == 1
    # Who was first and comes again is not told to go: its own certificate is there.
    again = overlay.nodes["p1"]
    overlay.world.call(overlay.world.hosts["p1"], lambda now: again.use_identity(identity(1), now))
    overlay.world.run_for(10.0)
    assert not names_taken(overlay, "p1")
    assert certificates_of(overlay, users[1]) == {first}
