"""RFC 6940 sections 6.3.4 and 13.2 among real nodes with real certificates: every message and every value is signed,
its signer is named as the section says, and what it takes to verify it comes along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_der_x509_certificate

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND
from p2psip.reload.link.framing import Deframer, frame_data
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.contents import MessageCode, MessageContents
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import Message, body_of, join, signature_input
from p2psip.reload.wire.security_block import (
    CertHash,
    CertHashNodeId,
    GenericCertificate,
    SecurityBlock,
    Signature,
    SignerIdentityType,
)
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    FetchAns,
    FetchKindResponse,
    StoredData,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.sim.certified import CertifiedOverlay, enrolled, ring_id
from p2psip.sim.membership import OVERLAY, Club, key
from p2psip.sim.registrations import ask, fetch, is_found
from p2psip.sim.simulated_overlay import Command
from p2psip.sim.world import Host

ECDSA, RSA = SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA
REMOTE, HERE = Address("192.0.2.1", 1), Address("192.0.2.2", 2)
BOTH = frozenset({ECDSA, RSA})


@dataclass(frozen=True)
class Signed:
    """A signature that went over a link, with the certificates of its message."""

    what: str
    signature: Signature
    certificates: tuple[GenericCertificate, ...]

    @property
    def certificate(self) -> bytes:
        """The one that the signer identity names; the test fails if it is not there."""
        found = [entry.certificate for entry in self.certificates if self.names(entry.certificate)]
        assert len(found) == 1, f"{self.what}: {len(found)} certificates fit {self.signature.identity}"
        return found[0]

    def names(self, der: bytes) -> bool:
        """True if this is the signer's certificate, by the formulas of 6.3.4."""
        match self.signature.identity.identity:
            case CertHash(HashAlgorithm.SHA256, wanted):
                return hashlib.sha256(der).digest() == wanted
            case CertHashNodeId(HashAlgorithm.SHA256, wanted):
                nodes = [ring_id(number, place) for number in range(4) for place in range(3)]
                return any(hashlib.sha256(node + der).digest() == wanted for node in nodes)
        raise AssertionError(f"{self.what} names no signer")


class Wire:
    """Every signature that leaves a host of an overlay from now on."""

    def __init__(self, overlay: CertifiedOverlay) -> None:
        self.messages: list[Message] = []
        self._do = overlay.world._do
        overlay.world._do = self._watch  # type: ignore[method-assign]

    def _watch(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Write) and effect.link in host.links:
            for _, content in Deframer(1 << 24).feed(effect.data):
                if not isinstance(content, int):
                    self.messages.append(Message.decode(content))
        self._do(host, effect)

    def signatures(self) -> Iterator[Signed]:
        """Of messages, and of the values in them."""
        for message in self.messages:
            block, code = message.security_block, message.contents.message_code
            yield Signed(code.rfc_name, block.signature, block.certificates)
            for value in values_of(message):
                yield Signed(f"a value in {code.rfc_name}", value.signature, block.certificates)


def values_of(message: Message) -> list[StoredData]:
    """The stored values in a Store or in the answer to a Fetch."""
    match body_of(message.contents, topology=CHORD_BODIES):
        case StoreReq() as request:
            return [value for data in request.kind_data if isinstance(data, StoreKindData) for value in data.values]
        case FetchAns() as answer:
            return [v for kind in answer.kind_responses if isinstance(kind, FetchKindResponse) for v in kind.values]
    return []


def store(overlay: CertifiedOverlay, host: Host, line: CertifiedIdentity) -> Command:
    """A line of a host stores its registration."""
    node, resource = overlay.node(host), hash_name(line.user.encode())
    value = DataValue(True, SipRegistration.route((Destination.node(node.node_id),)).encode())

    def run(context: object, now: float) -> None:
        node.add_client(line, now)
        issued = node.issue_storage_time(line.node_id, now)
        entry = DictionaryEntry(bytes(line.node_id), value)
        signed = sign_value(line, resource, SIP_REGISTRATION_KIND.kind_id, entry, issued.storage_time_ms, 1800)
        request = StoreReq(resource, 0, (StoreKindData(SIP_REGISTRATION_KIND.kind_id, 0, (signed,)),))
        node.store(line, request, context, now, after=issued.after)

    return overlay.command(host, run)


def line(club: Club, algorithm: SignatureAlgorithm = ECDSA) -> CertifiedIdentity:
    """Alice's, with a key of its own."""
    owner = Club(club.anchor, club.configuration, algorithm)
    return CertifiedIdentity(key(algorithm, 8), [owner.certificate(f"alice@{OVERLAY}", [ring_id(3, 2)], number=8)])


def ping_from(who: CertifiedIdentity, overlay: int, transaction_id: int, to: NodeId) -> bytes:
    """A Ping as bytes, put together here."""
    header = ForwardingHeader(
        overlay=overlay,
        configuration_sequence=1,
        ttl=10,
        transaction_id=transaction_id,
        destination_list=(Destination.node(to),),
    )
    contents = MessageContents(MessageCode.PING_REQ, PingReq().encode()).encode()
    signature = who.sign(signature_input(overlay, transaction_id, contents))
    return join(header, contents + SecurityBlock(who.certificates, signature).encode())


def lives(overlay: CertifiedOverlay, who: CertifiedIdentity) -> None:
    """A line stores at one peer, every peer fetches."""
    p1 = overlay.world.hosts["p1"]
    assert not isinstance(overlay.wait_done(p1, store(overlay, p1, who)).result, RequestFailed)
    for host in overlay.alive():
        assert is_found(overlay.wait_done(host, fetch(overlay, host, hash_name(who.user.encode()))))


@pytest.mark.must("6.3.4/1", "6.3.4/2", "6.3.4/3", "6.3.4/5", "6.3.4/7", "13.2/2", "13.5.1/1")
def test_6_3_4_every_message_and_value_is_signed_and_its_certificates_come_along() -> None:
    """ "implementers MUST include all referenced certificates"; and with one Node-ID the signer is a cert_hash."""
    club = Club.of()
    overlay = CertifiedOverlay(club, "signed")
    wire = Wire(overlay)
    overlay.grow(3)
    lives(overlay, line(club))
    overlay.world.run_for(60.0)
    p1, p2 = (overlay.world.hosts[name] for name in ("p1", "p2"))
    pinged = OverlayRequest([Destination.node(overlay.node(p2).node_id)], MessageCode.PING_REQ, PingReq())
    assert not isinstance(overlay.wait_done(p1, ask(overlay, p1, pinged)).result, RequestFailed)
    signed = list(wire.signatures())
    codes, code = {message.contents.message_code for message in wire.messages}, MessageCode
    asked = {code.ATTACH_REQ, code.JOIN_REQ, code.UPDATE_REQ, code.STORE_REQ, code.FETCH_REQ, code.PING_REQ}
    assert asked | {each.answer for each in asked} <= codes
    assert any(entry.what.startswith("a value") for entry in signed)
    for entry in signed:
        assert entry.certificate
        assert entry.signature.identity.identity_type is SignerIdentityType.CERT_HASH
        assert entry.signature.algorithm.encode() == b"\4\3", "SHA-256 with ECDSA"
    for message in wire.messages:
        block = message.security_block
        assert block.encode() == SecurityBlock.decode(block.encode()).encode()
        # Every certificate once: "thus allowing only a single copy of each certificate to be sent".
        assert len(set(block.certificates)) == len(block.certificates)


@pytest.mark.must("6.3.4/6")
@pytest.mark.parametrize("places", [(0, 1, 2), (2, 1, 0), (1, 1, 1)], ids=str)
def test_6_3_4_several_node_ids_are_told_apart_by_cert_hash_node_id(places: tuple[int, ...]) -> None:
    """Peers whose certificates have three Node-IDs, each acting as another of them, join, store and fetch."""
    club = Club.of()

    def several(number: int) -> CertifiedIdentity:
        nodes = [ring_id(number, place) for place in range(3)]
        certificate = club.certificate(f"peer-p{number}@{OVERLAY}", nodes, number=number)
        return CertifiedIdentity(key(ECDSA, number), [certificate], nodes[places[number]])

    overlay = CertifiedOverlay(club, f"several {places}", identity_of=several)
    wire = Wire(overlay)
    overlay.grow(3)
    assert {overlay.node(host).node_id for host in overlay.alive()} == {ring_id(*place) for place in enumerate(places)}
    lives(overlay, line(club))
    several_types = {entry.signature.identity.identity_type for entry in wire.signatures() if "value" not in entry.what}
    assert several_types == {SignerIdentityType.CERT_HASH_NODE_ID, SignerIdentityType.CERT_HASH}
    assert all(entry.certificate for entry in wire.signatures())


@pytest.mark.must("6.3.4/4", "13.3/4")
@pytest.mark.parametrize("kinds", [(RSA, RSA, RSA), (ECDSA, RSA, ECDSA)], ids=["RSA", "mixed"])
def test_6_3_4_peers_with_rsa_keys(kinds: tuple[SignatureAlgorithm, ...]) -> None:
    """ "All implementations MUST support RSASSA-PKCS1-v1_5 [RFC3447] signatures with SHA-256 hashes" """
    club = replace(Club.of(kinds[0]), configuration=replace(Club.of(kinds[0]).configuration, signature_algorithms=BOTH))
    overlay = CertifiedOverlay(club, "RSA", algorithm_of=lambda number: kinds[number])
    wire = Wire(overlay)
    overlay.grow(3)
    lives(overlay, line(club, RSA))
    of_rsa = [m for m in wire.messages if m.security_block.signature.algorithm.encode() == b"\4\1"]
    assert of_rsa
    message = of_rsa[0]
    signature = message.security_block.signature
    public = load_der_x509_certificate(Signed("", signature, message.security_block.certificates).certificate)
    contents = signature_input(message.header.overlay, message.header.transaction_id, message.contents_bytes)
    rsa = public.public_key()
    assert isinstance(rsa, RSAPublicKey)
    # By the book, and not by the code under test: overlay || transaction_id || MessageContents || SignerIdentity.
    rsa.verify(signature.signature_value, contents + signature.identity.encode(), padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.must("6.3.4/8", "6.3.4/9")
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b"\4\3\1", b"\4\1\1"),
        lambda data: data.replace(b"\4\3\1", b"\2\3\1"),
        lambda data: data.replace(b"\4\3\1", b"\4\3\3"),
    ],
    ids=["signature", "algorithm", "hash", "identity none"],
)
def test_6_3_4_a_message_whose_signature_fails_is_not_processed(damage: Callable[[bytes], bytes]) -> None:
    """A Ping over a link of a real member, as it is and damaged: the one is answered, the other is not."""
    club = Club.of()
    overlay = CertifiedOverlay(club, "damage")
    overlay.grow(1)
    p0 = overlay.world.hosts["p0"]
    node, sender = overlay.node(p0), enrolled(club, 1, ECDSA)
    answered = []
    for number, change in ((101, bytes), (103, damage)):
        chain = tuple(entry.certificate for entry in sender.certificates)
        node.handle_link_up(LinkUp(number, chain, REMOTE, HERE), overlay.world.now)
        node.drain()
        payload = ping_from(sender, overlay.configuration.overlay_hash, 77 + number, node.node_id)
        node.handle_link_data(number, frame_data(0, change(payload)), overlay.world.now)
        writes = b"".join(effect.data for effect in node.drain() if isinstance(effect, Write) and effect.link == number)
        answered.append(any(not isinstance(content, int) for _, content in Deframer(1 << 20).feed(writes)))
    assert answered == [True, False]
